#!/usr/bin/env bash
# A working `docker` with the compose and buildx plugins, on a Debian machine that may have none of it: for CI. Needs root.
# An ordinary Docker needs nothing of this.
#
# Debian's docker.io has neither plugin before trixie; their packages depend on nothing but a C library that older releases have, too.
set -euo pipefail
# shellcheck source=image/debian.sh
. "$(dirname "$0")/../debian.sh"

main() {
  command -v dockerd > /dev/null && command -v docker > /dev/null || debian_packages docker.io
  command -v debootstrap > /dev/null || debian_packages debootstrap
  docker compose version > /dev/null 2>&1 || plugin docker-compose
  docker buildx version > /dev/null 2>&1 || plugin docker-buildx
  docker info > /dev/null 2>&1 || daemon
  docker version --format 'docker {{.Client.Version}}, daemon {{.Server.Version}}'
  docker compose version
}

# Unpacked, not installed: this machine's package manager goes on without knowing of the other release.
plugin() {
  local name=$1 work
  work=$(mktemp -d)
  debian_suite "$work" trixie
  (cd "$work" && debian_apt "$work" apt-get -q download "$name" > /dev/null)
  mkdir -p /usr/local/lib/docker/cli-plugins
  dpkg-deb --fsys-tarfile "$work/$name"_*.deb | tar -xO "./usr/libexec/docker/cli-plugins/$name" \
    > "/usr/local/lib/docker/cli-plugins/$name"
  chmod 0755 "/usr/local/lib/docker/cli-plugins/$name"
  rm -rf "$work"
}

daemon() {
  local log=/var/log/dockerd.log
  setsid --fork dockerd > "$log" 2>&1 < /dev/null
  for _ in $(seq 60); do
    docker info > /dev/null 2>&1 && return
    sleep 0.5
  done
  tail -n 30 "$log" >&2
  echo "dockerd did not start within 30 s; $log has the rest." >&2
  return 1
}

[ "$(id -u)" = 0 ] || { echo "This installs packages and starts dockerd: it needs root." >&2 && exit 1; }
main
