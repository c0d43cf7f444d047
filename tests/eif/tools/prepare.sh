#!/usr/bin/env bash
# Make what `make test-eif` boots images with, or take it from the cache; prints the directory: qemu-system-x86_64, vhost-device-vsock.
#
# Debian's QEMU leaves the nitro-enclave machine out, so QEMU is built from Debian's source archive. vhost-device-vsock is in Debian sid
# only; of its package nothing but the program is taken, which needs libc alone.
set -euo pipefail
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/../../../image/debian.sh"
. "$here/lock"

main() {
  local cached
  debian_packages bzip2 flex bison gcc libc6-dev libcbor-dev libfdt-dev libglib2.0-dev libgnutls28-dev libpixman-1-dev make ninja-build \
    pkg-config python3-venv qemu-system-data seabios xz-utils >&2
  cached=$(cache_directory qemu "$here/lock" "$here/prepare.sh" "$here/requirements.txt" "$(gcc --version | head -n 1)" "$(ldd --version | head -n 1)")
  if [ ! -d "$cached" ]; then
    work=$(mktemp -d "${TMPDIR:-/tmp}/cosigner-qemu.XXXXXX")
    trap 'rm -rf "$work"' EXIT
    mkdir -p "$work/out" "${cached%/*}"
    fetch_vsock "$work" "$work/out" >&2
    build_qemu "$work" "$work/out" >&2
    cp -r "$work/out" "$cached.$$"
    mv -T "$cached.$$" "$cached"
  fi
  printf '%s\n' "$cached"
}

fetch_vsock() {
  local work=$1 out=$2
  debian_suite "$work/apt-vsock" "${vsock_suite:?}"
  mkdir "$work/vsock"
  (cd "$work/vsock" && debian_apt "$work/apt-vsock" apt-get -q download "${vsock_package:?}")
  dpkg-deb --extract "$work/vsock"/*.deb "$work/vsock/files"
  install -m 0755 "$work/vsock/files/usr/bin/vhost-device-vsock" "$out/vhost-device-vsock"
  "$out/vhost-device-vsock" --version
}

build_qemu() {
  local work=$1 out=$2 archive source blob
  debian_suite "$work/apt-qemu" "${qemu_suite:?}"
  mkdir "$work/qemu"
  (cd "$work/qemu" && debian_apt "$work/apt-qemu" apt-get -q source --download-only --tar-only qemu)
  archive=$work/qemu/qemu_${qemu_version:?}+ds.orig.tar.xz
  if ! sha256sum --status --check <<< "${qemu_archive_sha256:?}  $archive"; then
    echo "the archive's QEMU is not the one that tests/eif/tools/lock names: $(cd "$work/qemu" && sha256sum -- *.tar.*)" >&2
    return 1
  fi
  tar --extract --file "$archive" --directory "$work/qemu"
  source=$work/qemu/qemu-$qemu_version
  # Debian's archive leaves these blobs out; the build file wants them to be there, and nothing here uses them.
  sed -n "s/^ *'\(edk2-.*\)',$/\1/p" "$source/pc-bios/meson.build" | while read -r blob; do : | bzip2 > "$source/pc-bios/$blob.bz2"; done
  python3 -m venv "$work/venv"
  "$work/venv/bin/pip" install --quiet --disable-pip-version-check --require-hashes --requirement "$here/requirements.txt"
  mkdir "$source/build"
  if ! (cd "$source/build" && quietly "$work/qemu.log" ../configure --python="$work/venv/bin/python" --target-list=x86_64-softmmu \
    --without-default-features --enable-system --enable-tcg --enable-libcbor --enable-gnutls --enable-vhost-user --enable-vhost-kernel \
    --disable-docs --disable-werror --disable-tools --disable-guest-agent --disable-install-blobs &&
    quietly "$work/qemu.log" ninja qemu-system-x86_64); then
    tail -n 30 "$work/qemu.log" >&2
    return 1
  fi
  install -m 0755 "$source/build/qemu-system-x86_64" "$out/qemu-system-x86_64"
  strip "$out/qemu-system-x86_64"
  "$out/qemu-system-x86_64" --version
}

quietly() {
  local log=$1
  shift
  "$@" >> "$log" 2>&1
}

main
