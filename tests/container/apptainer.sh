#!/usr/bin/env bash
# Build an Apptainer image with Singularity.def from an image that `CONTAINER_KEEP=IMAGE.tar make container-test` left, and
# run the participant level in it, as an ordinary user on input that is bound read-only.
#
#   Usage: tests/container/apptainer.sh IMAGE.tar [FOLDER of a Debian with Apptainer, kept; default: a temporary one]
#
# Debian stable has no Apptainer: it is taken from Debian unstable, into a root of its own, which needs root and
# debootstrap. Apptainer asks for every capability, which the root of a virtual machine may lack: it runs in a user
# namespace, whose root has them all.
set -euo pipefail
image=$(realpath "$1")
cd "$(dirname "$0")/../.."
step() { echo "== $(date +%T) $*"; }
fail() { echo "Failed: $*" >&2; exit 1; }
if [ "$(id -u)" != 0 ]; then fail "this test needs root"; fi

scratch=$(mktemp -d -p "${TMPDIR:-/tmp}" apptainer-test-XXXXXX)
unstable=${2:-$scratch/unstable}
trap 'rm -rf "$scratch"' EXIT
chmod 711 "$scratch"
mkdir "$scratch"/{tmp,out}

step "Apptainer from Debian unstable"
if [ ! -x "$unstable/usr/bin/apptainer" ]; then
    debootstrap --variant=minbase --include=apptainer,ca-certificates,fuse3,squashfuse sid "$unstable" \
        >"$scratch/debootstrap.log" 2>&1 || { tail -20 "$scratch/debootstrap.log"; exit 1; }
    echo "lab:x:12345:12345::/nowhere:/bin/sh" >>"$unstable/etc/passwd"
    echo "lab:x:12345:" >>"$unstable/etc/group"
fi
mkdir -p "$unstable"/{checkout,scratch,old}
touch "$unstable/image.tar" "$unstable/etc/hosts" "$unstable/etc/resolv.conf"
cat >"$scratch/enter.sh" <<'ENTER'
read -r _ <"$2/go"  # until the map of users is written
unstable=$1
mount --bind "$unstable" "$unstable"
mount --bind . "$unstable/checkout"
mount --bind "$2" "$unstable/scratch"
mount --bind "$3" "$unstable/image.tar"
for folder in proc dev sys; do mount --rbind "/$folder" "$unstable/$folder"; done
cd "$unstable"
pivot_root . old
umount -l /old
cd /checkout
shift 3
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/nowhere APPTAINER_TMPDIR=/scratch/tmp APPTAINER_CACHEDIR=/scratch/tmp
exec "$@"
ENTER
entered() {  # COMMAND ...: run a command in that Debian, as the root of a user namespace
    rm -f "$scratch/go" && mkfifo "$scratch/go"
    unshare --user --mount bash -e -c 'exec bash -e "$@"' bash "$scratch/enter.sh" "$unstable" "$scratch" "$image" "$@" &
    local process=$!
    until [ "$(readlink "/proc/$process/ns/user")" != "$(readlink /proc/$$/ns/user)" ]; do sleep 0.1; done
    echo "0 0 65536" >"/proc/$process/uid_map"
    echo "0 0 65536" >"/proc/$process/gid_map"
    echo go >"$scratch/go"
    wait "$process"
}

step "The image"
entered apptainer build --build-arg BOOTSTRAP=oci-archive --build-arg FROM=/image.tar \
    --mksquashfs-args "-Xcompression-level 1" /scratch/bids-neurossm.sif Singularity.def \
    >"$scratch/build.log" 2>&1 || { tail -30 "$scratch/build.log"; exit 1; }
du -m "$scratch/bids-neurossm.sif" | sed 's#\t.*# MB#'

step "The participant level, as user 12345 without a home, on input that is bound read-only"
"${PYTHON:-.venv/bin/python}" -c "
from pathlib import Path
from bids_neurossm.simulation import simulate_derivatives
simulate_derivatives(Path('$scratch/fmriprep'), n_participants=3)"
chmod -R a+rX "$scratch/fmriprep" "$scratch/bids-neurossm.sif"
chown 12345:12345 "$scratch"/{tmp,out}
chmod 711 "$scratch"
before=$(find "$scratch/fmriprep" -printf '%p %T@\n' | sort | sha256sum)
entered setpriv --reuid 12345 --regid 12345 --clear-groups \
    apptainer run --cleanenv --no-home --bind /scratch/fmriprep:/data:ro --bind /scratch/out:/out \
    /scratch/bids-neurossm.sif /data /out participant --atlas HarvardOxford -w /out/work
test "$(find "$scratch/out" -name '*_timeseries.tsv' | wc -l)" = 6 || fail "not every run has its series"
test "$before" = "$(find "$scratch/fmriprep" -printf '%p %T@\n' | sort | sha256sum)" || fail "the input has changed"
test "$(find "$scratch/out" ! -user 12345 | wc -l)" = 0 || fail "files of another user"
step "Done"
