#!/usr/bin/env bash
# Build the image twice from this tree and compare every byte: image/reproducible.sh OUTPUT. Needs docker and Debian's faketime.
#
# The second build has nothing in common with the first but the source and the base images: another directory, other permissions and
# times of files, no cache of layers, and a clock that is 30 hours ahead, in the builder's containers and where the image is packed.
# Variables as for image/build.sh.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
ahead=+30h

main() {
  local output library kernel
  output=$(mkdir -p "${1:?usage: image/reproducible.sh OUTPUT}" && realpath "$1")
  kernel=$(realpath "${KERNEL:-build/kernel/bzImage}")
  library=$(find /usr/lib -name libfaketimeMT.so.1 -print -quit)
  if [ -z "$library" ] || ! command -v faketime > /dev/null; then
    echo "faketime is needed: apt-get install faketime" >&2
    return 1
  fi
  work=$(mktemp -d "${TMPDIR:-/tmp}/cosigner-reproducible.XXXXXX")
  trap 'rm -rf "$work"' EXIT
  copy_tree "$work/first" 022
  copy_tree "$work/a second/place" 077
  find "$work/a second" -exec touch --no-dereference --date 2001-01-01 {} +

  KERNEL=$kernel "$work/first/image/build.sh" "$output/first"
  KERNEL=$kernel PYTHON="faketime -f $ahead ${PYTHON:-python3}" \
    RUST_BASE=$(later RUST_BASE "$library") PYTHON_BASE=$(later PYTHON_BASE "$library") \
    DOCKER_BUILD_FLAGS="--no-cache ${DOCKER_BUILD_FLAGS:-}" "$work/a second/place/image/build.sh" "$output/second"

  for name in cosigner.eif measurements.json; do
    if ! cmp "$output/first/$name" "$output/second/$name"; then
      echo "NOT reproducible: $name differs; both are in $output" >&2
      return 1
    fi
  done
  echo "Reproducible: two builds gave the same image and the same measurements."
}

# The files under version control, as they are now.
copy_tree() {
  local target=$1 mask=$2
  (
    umask "$mask"
    mkdir -p "$target"
    git ls-files -z --cached --others --exclude-standard | tar --create --null --files-from - |
      tar --extract --directory "$target" --no-same-permissions --no-same-owner --touch
  )
}

# A base image, by the name of its argument, in which every program sees a later clock.
later() {
  local name=$1 library=$2 context=$work/later base
  base=${!name:-$(sed -n "s/^ARG $name=//p" Dockerfile.enclave)}
  mkdir -p "$context"
  cp "$library" "$context/libfaketime.so"
  docker build --quiet --file - "$context" << EOF
FROM $base
COPY libfaketime.so /usr/local/lib/libfaketime.so
ENV LD_PRELOAD=/usr/local/lib/libfaketime.so FAKETIME=$ahead FAKETIME_DONT_FAKE_MONOTONIC=1
EOF
}

main "$@"
