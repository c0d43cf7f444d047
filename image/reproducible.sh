#!/usr/bin/env bash
# Build the image twice from this tree and compare every byte: image/reproducible.sh OUTPUT. Needs docker and Debian's faketime.
#
# The second build has nothing in common with the first but the source and the base images: another directory, other permissions and
# times of files, no cache of layers, and a clock that is 30 hours ahead, in the builder's containers and where the image is packed.
# Variables as for image/build.sh.
set -euo pipefail
shopt -s inherit_errexit
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
  later RUST_BASE cosigner-later/rust "$library"
  later PYTHON_BASE cosigner-later/python "$library"
  KERNEL=$kernel PYTHON="faketime -f $ahead ${PYTHON:-python3}" RUST_BASE=cosigner-later/rust PYTHON_BASE=cosigner-later/python \
    "$work/a second/place/image/build.sh" "$output/second"

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

# Makes a base image in which every program sees a later clock, but for the compiler: rustc's allocator and libfaketime wait for each other.
# The label makes it a new one in every run, so that nothing built on it was built before.
later() {
  local name=$1 tag=$2 library=$3 context=$work/later base
  base=${!name:-$(sed -n "s/^ARG $name=//p" Dockerfile.enclave)}
  mkdir -p "$context"
  cp "$library" "$context/libfaketime.so"
  printf '#!/bin/sh\nunset LD_PRELOAD RUSTC\nPATH=${PATH#/opt/now:}\nexec rustc "$@"\n' > "$context/rustc"
  chmod 0755 "$context/rustc"
  cat > "$context/Dockerfile" << EOF
FROM $base
LABEL cosigner.run=$work
COPY rustc /opt/now/rustc
COPY libfaketime.so /usr/local/lib/libfaketime.so
ENV PATH=/opt/now:\$PATH RUSTC=/opt/now/rustc
ENV LD_PRELOAD=/usr/local/lib/libfaketime.so FAKETIME=$ahead FAKETIME_DONT_FAKE_MONOTONIC=1
EOF
  docker build --quiet --tag "$tag" "$context"
}

main "$@"
