#!/usr/bin/env bash
# Build the enclave's kernel from Debian's source package: build.sh [--no-cache] OUTPUT
#
# The same source.lock, config and tools (gcc, binutils, gzip: those of Debian 12) give the same bytes, in whatever directory and at whatever
# time; what was built once is taken from ${COSIGNER_CACHE:-~/.cache/cosigner}. Where the archive no longer
# holds the locked version, LINUX_SOURCE_DEB=FILE names a copy of the package (Debian keeps old ones in its snapshot archive); the digest
# in source.lock decides, wherever the file comes from.
set -euo pipefail
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/../debian.sh"
. "$here/source.lock"

main() {
  local use_cache=yes output cached tools
  if [ "${1:-}" = --no-cache ]; then
    use_cache=no
    shift
  fi
  output=${1:?usage: build.sh [--no-cache] OUTPUT}
  debian_packages bc binutils bison flex gcc gzip libc6-dev libelf-dev make perl xz-utils
  mapfile -t tools < <(for tool in gcc ld gzip; do "$tool" --version | head -n 1; done)
  cached=$(cache_directory kernel "$here/config" "$here/source.lock" "$here/build.sh" "${tools[@]}")
  if [ "$use_cache" = no ] || [ ! -f "$cached/bzImage" ]; then
    work=$(mktemp -d "${TMPDIR:-/tmp}/cosigner-kernel.XXXXXX")
    trap 'rm -rf "$work"' EXIT
    unpack_source "$work"
    configure "$work/linux"
    compile "$work/linux" "$work/log"
    if [ "$use_cache" = yes ]; then
      mkdir -p "$cached"
      install -m 0644 "$work/linux/arch/x86/boot/bzImage" "$cached/bzImage.$$"
      mv "$cached/bzImage.$$" "$cached/bzImage"
    fi
    install -D -m 0644 "$work/linux/arch/x86/boot/bzImage" "$output"
  else
    install -D -m 0644 "$cached/bzImage" "$output"
  fi
  echo "kernel: $(sha256sum "$output") (${package:?} ${version:?}, $(gcc --version | head -n 1))"
}

unpack_source() {
  local work=$1 archive
  mkdir "$work/package" "$work/linux"
  dpkg-deb --extract "$(source_package "$work")" "$work/package"
  archive=$work/package/usr/src/$package.tar.xz
  if ! sha256sum --status --check <<< "${archive_sha256:?}  $archive"; then
    echo "the source in $package is not the one that image/kernel/source.lock names (found $(sha256sum < "$archive" | cut -d ' ' -f 1))" >&2
    return 1
  fi
  tar --extract --file "$archive" --directory "$work/linux" --strip-components 1
  rm -r "$work/package"
}

source_package() {
  local work=$1 offered
  if [ -n "${LINUX_SOURCE_DEB:-}" ]; then
    printf '%s\n' "$LINUX_SOURCE_DEB"
    return
  fi
  debian_suite "$work/apt" "${suite:?}" >&2
  if ! (cd "$work" && debian_apt "$work/apt" apt-get -q download "$package=$version" >&2); then
    offered=$(debian_apt "$work/apt" apt-cache madison "$package" | awk '{ print $3 }' | sort -u | paste -s -d ' ')
    echo "the archive does not offer $package $version (it has: ${offered:-none}). Give a copy of the package with LINUX_SOURCE_DEB=FILE, or" >&2
    echo "change image/kernel/source.lock, which changes PCR0 and PCR1 of every image built from now on." >&2
    return 1
  fi
  find "$work" -maxdepth 1 -name "${package}_*.deb"
}

configure() {
  local linux=$1 line disobeyed=0
  make -s -C "$linux" tinyconfig > /dev/null
  cat "$here/config" >> "$linux/.config"
  make -s -C "$linux" olddefconfig 2> /dev/null
  while read -r line; do
    grep -qxF -- "$line" "$linux/.config" || { echo "image/kernel/config: this kernel does not do as told: $line" >&2; disobeyed=1; }
  done < <(grep -E '^(# )?CONFIG_' "$here/config")
  return "$disobeyed"
}

compile() {
  local linux=$1 log=$2
  # Everything that a kernel otherwise takes from the machine that builds it.
  if ! env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/nonexistent LC_ALL=C TZ=UTC LOCALVERSION= \
    KBUILD_BUILD_TIMESTAMP='Thu Jan  1 00:00:00 UTC 1970' KBUILD_BUILD_USER=cosigner KBUILD_BUILD_HOST=cosigner KBUILD_BUILD_VERSION=1 \
    make -s -C "$linux" -j "$(nproc)" bzImage > "$log" 2>&1; then
    tail -n 30 "$log" >&2
    return 1
  fi
}

main "$@"
