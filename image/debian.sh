# shellcheck shell=bash
# What build scripts need of Debian: packages of the machine's own suite, files of other suites, a cache.
#
# Files of other suites are fetched without making apt install from them: lists and sources lie in a directory of their own, so that no
# version of those suites becomes a candidate for anything on this machine. The mirror is the one that the machine's apt already uses, and
# what is fetched is checked against Debian's archive keys as ever.

debian_keyring=/usr/share/keyrings/debian-archive-keyring.gpg

# debian_packages PACKAGE...: install what is missing; only root can.
debian_packages() {
  local package missing=()
  for package in "$@"; do
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2> /dev/null)" = installed ] || missing+=("$package")
  done
  [ ${#missing[@]} -eq 0 ] && return
  if [ "$(id -u)" -ne 0 ]; then
    echo "these packages are missing, and only root can install them: apt-get install ${missing[*]}" >&2
    return 1
  fi
  apt-get -o DPkg::Lock::Timeout=900 update -q > /dev/null
  DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=900 install -y -q --no-install-recommends "${missing[@]}" > /dev/null
}

# debian_suite DIRECTORY SUITE: make DIRECTORY know SUITE's binary and source packages.
debian_suite() {
  local directory=$1 suite=$2 mirror kind
  [ -r "$debian_keyring" ] || { echo "$debian_keyring is missing (package debian-archive-keyring)" >&2; return 1; }
  mirror=$(debian_mirror)
  mkdir -p "$directory/lists/partial" "$directory/cache/archives/partial"
  for kind in deb deb-src; do
    printf '%s [signed-by=%s] %s %s main\n' "$kind" "$debian_keyring" "$mirror" "$suite"
  done > "$directory/sources.list"
  debian_apt "$directory" apt-get -q update > /dev/null
}

# debian_apt DIRECTORY PROGRAM ARGUMENT...: apt-get or apt-cache with DIRECTORY's view of the archive.
debian_apt() {
  local directory=$1 program=$2
  shift 2
  "$program" \
    -o Dir::Etc::SourceList="$directory/sources.list" -o Dir::Etc::SourceParts=/dev/null \
    -o Dir::Etc::Preferences=/dev/null -o Dir::Etc::PreferencesParts=/dev/null \
    -o Dir::State::Lists="$directory/lists" -o Dir::Cache="$directory/cache" \
    -o Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled=false \
    -o Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false \
    -o Acquire::Languages=none -o APT::Sandbox::User= "$@"
}

debian_mirror() {
  local mirror
  mirror=$(debian_known_mirror)
  if [ -z "$mirror" ] && [ "$(id -u)" -eq 0 ]; then # where apt's lists were never fetched, or removed to save space
    apt-get -o DPkg::Lock::Timeout=900 -q update > /dev/null
    mirror=$(debian_known_mirror)
  fi
  [ -n "$mirror" ] || { echo "apt on this machine knows no mirror of Debian: is it Debian, and did apt-get update run?" >&2; return 1; }
  printf '%s\n' "$mirror"
}

debian_known_mirror() {
  apt-get indextargets --format '$(ORIGIN)|$(LABEL)|$(REPO_URI)' 'Created-By: Packages' | sed -n 's/^Debian|Debian|//p' | sort -u | head -n 1
}

# cache_directory NAME INPUT...: where to keep what is made of these files and words; the same inputs give the same directory.
cache_directory() {
  local name=$1 key
  shift
  key=$(for input in "$@"; do if [ -f "$input" ]; then cat "$input"; else printf '%s\n' "$input"; fi; done | sha256sum | cut -c 1-16)
  printf '%s/%s-%s\n' "${COSIGNER_CACHE:-$HOME/.cache/cosigner}" "$name" "$key"
}
