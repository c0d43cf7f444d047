#!/bin/sh
# Puts the host and the launcher on a parent instance with Amazon Linux 2023. Run as root from the top of a checkout or an unpacked release:
#
#   deploy/install.sh [--root DIR]
#
# May be run again: what is there already is left alone or replaced by the same, and files in /etc/cosigner are the operator's once they
# exist. It starts nothing. --root installs below DIR, for tests and images.
set -eu

root=
case "${1-}" in
  --root) root=$2 ;;
  "") ;;
  *) echo "usage: deploy/install.sh [--root DIR]" >&2; exit 2 ;;
esac
if [ ! -f deploy/install.sh ] || [ ! -f requirements/host.txt ]; then
  echo "Run this from the top of the checkout." >&2
  exit 2
fi

opt=$root/opt/cosigner
etc=$root/etc/cosigner

say() { echo "install: $*"; }

# put MODE FROM TO: install a file, unless the same bytes are there.
put() {
  if ! cmp -s "$2" "$3"; then
    install -D -m "$1" "$2" "$3"
    say "wrote $3"
  fi
  chmod "$1" "$3"
}

# offer MODE FROM TO: install a file that belongs to the operator from then on.
offer() {
  if [ -e "$3" ]; then say "kept $3"; else put "$1" "$2" "$3"; fi
}

packages() {
  for package in aws-nitro-enclaves-cli python3.11; do
    rpm -q --quiet "$package" || dnf install -y -q "$package"
  done
}

users() {
  put 0644 deploy/config/sysusers.conf "$root/usr/lib/sysusers.d/cosigner.conf"
  systemd-sysusers ${root:+--root="$root"} cosigner.conf
}

# The host's modules and no others: of protocol, only what the host may parse.
library() {
  new=$opt/lib.new
  rm -rf "$new"
  for file in $(find host protocol/envelope -name '*.py' -o -name py.typed -path 'host/*' -o -name openapi.json -path 'host/*' | sort) \
    protocol/__init__.py; do
    install -D -m 0644 "$file" "$new/$file"
  done
  if [ -d "$opt/lib" ] && diff -r -q -x __pycache__ "$new" "$opt/lib" > /dev/null; then
    rm -rf "$new"
    return
  fi
  rm -rf "$opt/lib.old"
  [ ! -d "$opt/lib" ] || mv "$opt/lib" "$opt/lib.old"
  mv "$new" "$opt/lib"
  rm -rf "$opt/lib.old"
  say "wrote $opt/lib"
}

dependencies() {
  [ -x "$opt/venv/bin/python" ] || python3.11 -m venv "$opt/venv"
  if ! cmp -s requirements/host.txt "$opt/venv/host.txt"; then
    "$opt/venv/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all: \
      --requirement requirements/host.txt
    install -m 0644 requirements/host.txt "$opt/venv/host.txt" # last: it says that all of it is there
    say "installed the dependencies"
  fi
}

configuration() {
  offer 0644 deploy/config/host.json "$etc/host.json"
  offer 0644 deploy/config/enclave.env "$etc/enclave.env"
  offer 0644 deploy/config/readiness.env "$etc/readiness.env"
  # The package's own file is not the operator's: it is replaced once, and kept beside.
  allocator=$root/etc/nitro_enclaves/allocator.yaml
  if [ ! -e "$allocator.before-cosigner" ]; then
    if [ -e "$allocator" ]; then cp -p "$allocator" "$allocator.before-cosigner"; fi
    put 0644 deploy/config/allocator.yaml "$allocator"
    [ -e "$allocator.before-cosigner" ] || cp -p "$allocator" "$allocator.before-cosigner"
  fi
}

documents() {
  for file in docs/runbooks/*.md; do
    put 0644 "$file" "$opt/doc/runbooks/${file##*/}"
  done
}

units() {
  for unit in deploy/systemd/*; do
    put 0644 "$unit" "$root/etc/systemd/system/${unit##*/}"
  done
  systemctl ${root:+--root="$root"} daemon-reload
  systemctl ${root:+--root="$root"} enable --quiet nitro-enclaves-allocator.service cosigner-enclave.service \
    cosigner-host.service cosigner-readiness.timer
}

umask 022
packages
users
mkdir -p "$opt/enclave" "$etc"
library
dependencies
configuration
documents
units

for file in "$etc/manifest.cbor" "$opt/enclave/cosigner.eif"; do
  [ -e "$file" ] || say "still to come: $file"
done
say "done. Look through $etc, then restart the instance or start nitro-enclaves-allocator, cosigner-enclave and cosigner-host."
