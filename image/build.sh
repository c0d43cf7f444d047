#!/usr/bin/env bash
# From the source tree to an enclave image file: image/build.sh OUTPUT. Needs docker and a Python that can import `attestation`.
#
#   KERNEL=FILE          an x86 bzImage (default: build/kernel/bzImage, what `make kernel` builds)
#   INIT=FILE MODULE=FILE    AWS's init and nsm.ko, for AWS's kernel; without them PID 1 is ours and the kernel has the driver built in
#   RUST_BASE, PYTHON_BASE   base images of Dockerfile.enclave
#   DOCKER_BUILD_FLAGS   more arguments for `docker build`, such as --no-cache
#   PYTHON               the interpreter (default: python3)
set -euo pipefail
shopt -s inherit_errexit
cd "$(dirname "${BASH_SOURCE[0]}")/.."

main() {
  local output=${1:?usage: image/build.sh OUTPUT} kernel=${KERNEL:-build/kernel/bzImage} application native arguments
  if [ ! -f "$kernel" ]; then
    echo "There is no kernel $kernel: run \`make kernel\`, or name one with KERNEL=FILE." >&2
    return 1
  fi
  work=$(mktemp -d "${TMPDIR:-/tmp}/cosigner-eif.XXXXXX")
  trap 'rm -rf "$work"' EXIT
  application=$(built production "$work")
  native=$(built native "$work")
  exported "$application" export > "$work/rootfs.tar"
  exported "$native" cp - /init/cosigner-init | tar --extract --directory "$work"
  arguments=(--rootfs "$work/rootfs.tar" --init "$work/cosigner-init" --kernel "$kernel" --output "$output")
  [ -z "${INIT:-}" ] || arguments+=(--aws-init "$INIT")
  [ -z "${MODULE:-}" ] || arguments+=(--module "$MODULE")
  # shellcheck disable=SC2086  # may be a command of several words
  ${PYTHON:-python3} -m image eif "${arguments[@]}"
}

# Builds a target of Dockerfile.enclave and prints the image's identity; no tag is made, so nothing else can be meant by it.
built() {
  local target=$1 work=$2 flags=(--file Dockerfile.enclave --target "$1" --iidfile "$2/$1")
  [ -z "${RUST_BASE:-}" ] || flags+=(--build-arg "RUST_BASE=$RUST_BASE")
  [ -z "${PYTHON_BASE:-}" ] || flags+=(--build-arg "PYTHON_BASE=$PYTHON_BASE")
  # shellcheck disable=SC2086  # several words
  docker build "${flags[@]}" ${DOCKER_BUILD_FLAGS:-} . >&2
  cat "$work/$target"
}

# Docker reads files out of containers only; this one is never started.
exported() {
  local image=$1 how=$2 container
  container=$(docker create "$image" none)
  case $how in
    export) docker export "$container" ;;
    cp) docker cp "$container:$4" "$3" ;;
  esac
  docker rm "$container" > /dev/null
}

main "$@"
