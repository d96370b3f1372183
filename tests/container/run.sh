#!/usr/bin/env bash
# Build the CPU image from the Dockerfile with buildah, on a Debian made by debootstrap, and run it as labs do: an
# arbitrary user without a home, the root file system and the input read-only, no network. Needs root and Debian's
# buildah and debootstrap (installed where they are missing); ends with 0 only if every step did.
#
#   CONTAINER_CACHE=DIR   keeps the Debian base there from one run to the next
#   CONTAINER_KEEP=FILE   leaves the image there as an OCI archive, for instance for tests/container/apptainer.sh
#   NEUROSSM_TEST_DATA    real atlases, for the variant with data inside; without them that step is left out
set -euo pipefail
cd "$(dirname "$0")/../.."

if [ "$(id -u)" != 0 ]; then echo "The container test needs root." >&2; exit 1; fi
if ! command -v buildah >/dev/null || ! command -v debootstrap >/dev/null; then
    apt-get update --quiet && apt-get install --yes --quiet buildah debootstrap
fi

scratch=$(mktemp -d -p "${TMPDIR:-/tmp}" container-test-XXXXXX)
root=$scratch/root
step() { echo "== $(date +%T) $*"; }
fail() { echo "Failed: $*" >&2; exit 1; }
cleanup() {
    if mountpoint -q "$root"; then umount --recursive "$root"; fi
    buildah "${store[@]}" rm --all >/dev/null 2>&1 || true
    if mountpoint -q "$scratch/storage/overlay"; then umount --recursive "$scratch/storage/overlay"; fi
    rm -rf "$scratch"
}
# Layers on an overlay are not copied; where the kernel has none, each step copies gigabytes.
driver=overlay
mkdir -p "$scratch"/{lower,upper,merged,overlay-work}
if mount -t overlay -o "lowerdir=$scratch/lower,upperdir=$scratch/upper,workdir=$scratch/overlay-work" none \
    "$scratch/merged" 2>/dev/null; then umount "$scratch/merged"; else driver=vfs; fi
store=(--root "$scratch/storage" --runroot "$scratch/run" --storage-driver "$driver")
trap cleanup EXIT

step "A Debian base"
archive=${CONTAINER_CACHE:+$CONTAINER_CACHE/debian-bookworm.tar}
mkdir "$scratch/base"
if [ -n "$archive" ] && [ -s "$archive" ]; then
    tar --extract --file "$archive" --directory "$scratch/base" --numeric-owner --xattrs
else
    mirror=$(grep -rhoE '(https?|file)://[^ ]+/debian/?( |$)' /etc/apt/sources.list /etc/apt/sources.list.d 2>/dev/null \
        | head -1 || true)
    debootstrap --variant=minbase --include=python3,python3-venv,ca-certificates bookworm "$scratch/base" \
        ${mirror:+"$mirror"} >"$scratch/debootstrap.log" 2>&1 || { tail -20 "$scratch/debootstrap.log"; exit 1; }
    # A runtime brings its own /dev, and some can not unpack devices.
    rm -rf "$scratch"/base/{dev,var/cache/apt,var/lib/apt/lists,usr/share/doc,usr/share/man,usr/share/locale}/*
    if [ -n "$archive" ]; then
        mkdir -p "$CONTAINER_CACHE"
        tar --create --file "$archive.part" --directory "$scratch/base" --numeric-owner --xattrs .
        mv "$archive.part" "$archive"
    fi
fi
container=$(buildah "${store[@]}" from scratch)
buildah "${store[@]}" add --quiet "$container" "$scratch/base" / >/dev/null
buildah "${store[@]}" commit --quiet --rm "$container" localhost/neurossm-base >/dev/null 2>&1
rm -rf "$scratch/base"

step "The image"
# pip inside uses what pip outside does: its settings, certificates, and folders of wheels.
python3 -m pip config list | sed -n "s/^global\.\([a-z-]*\)='\(.*\)'$/\1 = \2/p" | sed '1i [global]' >"$scratch/pip.conf"
settings=(--volume "$scratch/pip.conf:/etc/pip.conf:ro")
for path in $(grep -oE '(file://)?/[^ ]+' "$scratch/pip.conf" | sed -E 's#^file://(.*)/simple$#\1#' | grep -v '^//'); do
    [ -e "$path" ] && settings+=(--volume "$path:$path:ro")
done
while IFS='=' read -r name _; do settings+=(--env "$name"); done < <(env | grep '^PIP_' || true)
built() {  # NAME [OPTION ...]: build the image under this name, from what was built before where that is the same
    buildah "${store[@]}" build --layers --isolation chroot --network host "${settings[@]}" \
        --build-arg BASE=localhost/neurossm-base --build-arg BUILD_BASE=localhost/neurossm-base \
        --tag "localhost/$1" "${@:2}" . >"$scratch/build.log" 2>&1 || { tail -40 "$scratch/build.log"; exit 1; }
}
built bids-neurossm --build-arg REVISION="$(git rev-parse HEAD 2>/dev/null || echo unknown)"
entered() {  # NAME: make the root file system of an image $root, read-only, with /out, /data and a /tmp of its own
    if mountpoint -q "$root"; then umount --recursive "$root"; fi
    mkdir -p "$root"
    mount --bind "$(buildah "${store[@]}" mount "$(buildah "${store[@]}" from "localhost/$1")")" "$root"
    mkdir -p "$root/out" "$root/data"
    mount -o remount,bind,ro "$root"
    mount -t proc proc "$root/proc"
    mount --rbind /dev "$root/dev"
    mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
    mount --bind "$scratch/out" "$root/out"
}
inside() {  # what the image's ENV says, but for HOME
    unshare --net --mount -- chroot --userspec=12345:12345 "$root" \
        /usr/bin/env -i PATH=/opt/venv/bin:/usr/bin:/bin TEMPLATEFLOW_HOME=/opt/resources \
        NEUROSSM_RESOURCES=/opt/resources PYTHONNOUSERSITE=1 PYTHONDONTWRITEBYTECODE=1 "$@"
}
refused() {  # CODE WORDS COMMAND ...: a command that has to end with this code and one sentence
    local code=0
    inside "${@:3}" >"$scratch/said" 2>&1 || code=$?
    if [ "$code" != "$1" ] || ! grep --quiet --fixed-strings -- "$2" "$scratch/said" \
        || grep --quiet Traceback "$scratch/said"; then
        cat "$scratch/said" >&2
        fail "exit $code instead of $1, or without \"$2\": ${*:3}"
    fi
}
buildah "${store[@]}" inspect --type image --format \
    '{{.OCIv1.Config.User}} {{.OCIv1.Config.Entrypoint}} {{index .OCIv1.Config.Labels "org.opencontainers.image.licenses"}}' \
    localhost/bids-neurossm >"$scratch/facts"
test "$(cat "$scratch/facts")" = '65534:65534 [bids-neurossm] Apache-2.0' || fail "what it says: $(cat "$scratch/facts")"
mkdir "$scratch/out"
chmod 711 "$scratch"
chown 12345:12345 "$scratch/out"
entered bids-neurossm
du -sm --one-file-system "$root" --exclude="$root"/{proc,dev,tmp,out} | sed 's#\t.*# MB, unpacked#'

step "The demo, as user 12345, read-only root, no network, no HOME"
if inside touch /opt/written 2>/dev/null; then fail "the root file system can be written"; fi
inside bids-neurossm-demo /out/demo
test -s "$scratch/out/demo/results/group_demo.html" || fail "the demo left no report"
test -s "$scratch/out/demo/results/group/demo/reference.tsv" || fail "the demo was not compared with the literature"

step "The participant level on input that is mounted read-only"
mount --bind "$scratch/out/demo/fmriprep" "$root/data"
mount -o remount,bind,ro "$root/data"
before=$(find "$scratch/out/demo/fmriprep" -printf '%p %T@\n' | sort | sha256sum)
inside bids-neurossm /data /out/single participant --participant-label 01 --atlas HarvardOxford
test "$before" = "$(find "$scratch/out/demo/fmriprep" -printf '%p %T@\n' | sort | sha256sum)" || fail "the input has changed"

step "What can not work is told in a sentence, with its exit code"
refused 5 "The output folder /nowhere can not be written" bids-neurossm /data /nowhere participant --atlas HarvardOxford
refused 5 "give another one with -w" bids-neurossm /data /out/other participant --atlas HarvardOxford -w /opt/work
refused 4 "bids-neurossm-fetch" bids-neurossm /data /out/other participant --atlas Schaefer400
refused 6 "--device cpu" bids-neurossm /data /out/demo/results group --target entity:task --atlas HarvardOxford \
    --reference none --device cuda
refused 4 "atlas Schaefer400" bids-neurossm-check /data /out/single
umount "$root/tmp"
refused 5 "--tmpfs /tmp" bids-neurossm /data /out/other participant --atlas HarvardOxford
inside bids-neurossm /data /out/other participant --participant-label 01 --atlas HarvardOxford -w /out/work
test "$(find "$scratch/out" ! -user 12345 | wc -l)" = 0 || fail "files of another user"

step "The variant with data inside"
home=${NEUROSSM_TEST_DATA:-../shared/data}/atlases/templateflow
if [ -d "$home" ]; then
    built bids-neurossm-data --build-context resources="$(realpath "$home")"
    # The demo's runs under the name of the other space: only there is an atlas among the test data.
    renamed=$scratch/out/renamed
    mkdir "$renamed" && cp -r "$scratch"/out/demo/fmriprep/{sub-01,dataset_description.json} "$renamed"
    find "$renamed" -name '*MNI152NLin6Asym*' | while read -r path; do
        mv "$path" "${path//MNI152NLin6Asym/MNI152NLin2009cAsym}"
    done
    chown -R 12345:12345 "$renamed"
    entered bids-neurossm-data
    inside bids-neurossm /out/renamed /out/schaefer participant --atlas Schaefer400
    test -n "$(find "$scratch/out/schaefer" -name '*Schaefer2018*_timeseries.tsv')" || fail "no series of the atlas inside"
else
    echo "Left out: there is no $home."
fi

if [ -n "${CONTAINER_KEEP:-}" ]; then
    buildah "${store[@]}" push --quiet localhost/bids-neurossm "oci-archive:$CONTAINER_KEEP" && du -sm "$CONTAINER_KEEP"
fi
step "Done: built, demo run, input untouched"
