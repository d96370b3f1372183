#!/usr/bin/env bash
# Build the CPU image from the Dockerfile with buildah, on a Debian made by debootstrap, and run the demo in it as labs
# do: an arbitrary user without a home, the root file system and the input read-only, no network. Needs root and
# Debian's buildah and debootstrap (installed where they are missing); ends with 0 only if every step did.
set -euo pipefail
cd "$(dirname "$0")/../.."

if [ "$(id -u)" != 0 ]; then echo "The container test needs root." >&2; exit 1; fi
if ! command -v buildah >/dev/null || ! command -v debootstrap >/dev/null; then
    apt-get update --quiet && apt-get install --yes --quiet buildah debootstrap
fi

scratch=$(mktemp -d -p "${TMPDIR:-/tmp}" container-test-XXXXXX)
store=(--root "$scratch/storage" --runroot "$scratch/run" --storage-driver "${STORAGE_DRIVER:-vfs}")
root=$scratch/root
step() { echo "== $(date +%T) $*"; }
cleanup() {
    mountpoint -q "$root" && umount --recursive "$root"
    buildah "${store[@]}" rm --all >/dev/null 2>&1 || true
    rm -rf "$scratch"
}
trap cleanup EXIT

step "A Debian base"
mirror=$(grep -rhoE '(https?|file)://[^ ]+/debian/?( |$)' /etc/apt/sources.list /etc/apt/sources.list.d 2>/dev/null | head -1 || true)
debootstrap --variant=minbase --include=python3,python3-venv,ca-certificates bookworm "$scratch/base" ${mirror:+"$mirror"} \
    >"$scratch/debootstrap.log" 2>&1 || { tail -20 "$scratch/debootstrap.log"; exit 1; }
rm -rf "$scratch/base/var/cache/apt" "$scratch/base/var/lib/apt/lists"
container=$(buildah "${store[@]}" from scratch)
buildah "${store[@]}" add --quiet "$container" "$scratch/base" / >/dev/null
buildah "${store[@]}" commit --quiet --rm "$container" localhost/neurossm-base >/dev/null
rm -rf "$scratch/base"

step "The image"
# pip inside uses what pip outside does: its settings, certificates, and folders of wheels.
python3 -m pip config list | sed -n "s/^global\.\([a-z-]*\)='\(.*\)'$/\1 = \2/p" | sed '1i [global]' >"$scratch/pip.conf"
volumes=(--volume "$scratch/pip.conf:/etc/pip.conf:ro") settings=()
for path in $(grep -oE '(file://)?/[^ ]+' "$scratch/pip.conf" | sed -E 's#^file://(.*)/simple$#\1#' | grep -v '^//'); do
    [ -e "$path" ] && volumes+=(--volume "$path:$path:ro")
done
while IFS='=' read -r name _; do settings+=(--env "$name"); done < <(env | grep '^PIP_' || true)
buildah "${store[@]}" build --isolation chroot --network host "${volumes[@]}" \
    --build-arg BASE=localhost/neurossm-base --build-arg BUILD_BASE=localhost/neurossm-base "${settings[@]}" --tag localhost/bids-neurossm . \
    >"$scratch/build.log" 2>&1 || { tail -40 "$scratch/build.log"; exit 1; }
container=$(buildah "${store[@]}" from localhost/bids-neurossm)
image=$(buildah "${store[@]}" mount "$container")
du -sh "$image" | sed "s#$image#image#"

step "The demo, as user 12345, read-only root, no network, no HOME"
mkdir -p "$root" "$scratch/out"
chmod 711 "$scratch"
chown 12345:12345 "$scratch/out"
mount --bind "$image" "$root"
mkdir -p "$root/out" "$root/data" "$root/proc" "$root/dev" "$root/tmp"
mount -o remount,bind,ro "$root"
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
mount --bind "$scratch/out" "$root/out"
inside() {
    unshare --net --mount -- chroot --userspec=12345:12345 "$root" \
        /usr/bin/env -i PATH=/opt/venv/bin:/usr/bin:/bin TEMPLATEFLOW_HOME=/opt/resources \
        NEUROSSM_RESOURCES=/opt/resources PYTHONNOUSERSITE=1 "$@"
}
if inside touch /opt/written 2>/dev/null; then echo "The root file system can be written." >&2; exit 1; fi
inside bids-neurossm-demo /out/demo
test -s "$scratch/out/demo/results/group_demo.html" || { ls -R "$scratch/out/demo" | head; exit 1; }

step "The participant level on input that is mounted read-only"
mount --bind "$scratch/out/demo/fmriprep" "$root/data"
mount -o remount,bind,ro "$root/data"
before=$(find "$scratch/out/demo/fmriprep" -printf '%p %T@\n' | sort | sha256sum)
inside bids-neurossm /data /out/single participant --participant-label 01 --atlas HarvardOxford
test "$before" = "$(find "$scratch/out/demo/fmriprep" -printf '%p %T@\n' | sort | sha256sum)"
inside bids-neurossm --check /data /out/single || test $? = 4  # templates are not in this image
if inside bids-neurossm /data /nowhere participant 2>/dev/null; then echo "A read-only OUT_DIR was accepted." >&2; exit 1; fi
test "$(find "$scratch/out" ! -user 12345 | wc -l)" = 0
step "Done: built, demo run, input untouched"
