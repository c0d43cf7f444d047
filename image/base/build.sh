#!/usr/bin/env bash
# Local stand-ins for the base images of the Dockerfiles, for machines that reach a Debian mirror but no image registry. Needs root.
#
#   image/base/build.sh python TAG     Debian with python3 and pip
#   image/base/build.sh rust TAG       Debian with a C compiler, and the Rust toolchain of this machine
#
# Both trust what this machine trusts (its bundle of certificates), so that pip and cargo reach their registries as they do outside.
set -euo pipefail
# shellcheck source=image/debian.sh
. "$(dirname "$0")/../debian.sh"

kind=${1:?python or rust}
tag=${2:?name of the image}
suite=${SUITE:-bookworm}
bundle=/etc/ssl/certs/ca-certificates.crt

if docker image inspect "$tag" > /dev/null 2>&1; then
  echo "$tag is there already; remove it to have it built again."
  exit
fi

case $kind in
  python) packages=ca-certificates,python3,python3-pip ;;
  rust) packages=ca-certificates,gcc,libc6-dev ;;
  *) echo "unknown kind: $kind" >&2 && exit 2 ;;
esac

root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
debootstrap --variant=minbase --include="$packages" "$suite" "$root" "$(debian_mirror)" > "$root.log" 2>&1 || {
  tail -n 30 "$root.log" >&2
  exit 1
}
rm -rf "$root.log" "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/* "$root"/usr/share/{doc,man,locale}
install -m 0644 "$bundle" "$root$bundle"

if [ "$kind" = rust ]; then
  toolchain=$(rustc --print sysroot)
  tar -C "$toolchain" -c --exclude=./share --exclude='./lib/rustlib/src' . | tar -C "$root/usr/local" -x
fi

tar -C "$root" --numeric-owner -c . | docker import \
  --change "ENV SSL_CERT_FILE=$bundle PIP_CERT=$bundle CARGO_HTTP_CAINFO=$bundle" --change 'CMD ["/bin/sh"]' - "$tag" > /dev/null
docker image inspect --format "$tag {{.Size}} bytes" "$tag"
