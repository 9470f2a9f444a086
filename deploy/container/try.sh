#!/usr/bin/env bash
# Brings docker-compose.yml up as a project of its own (longwave-try: own volumes, passwords, free ports on loopback), sends
# uplinks from simulated gateways through it, checks what reaches the application's topic, takes everything down.
#
#   deploy/container/try.sh            with the default base image
#   deploy/container/try.sh --base     makes a base image by debootstrap first (root), where none can be pulled
#   deploy/container/try.sh --keep     leaves it running and says where
#
# Wants Docker (DOCKER_HOST is honoured), docker compose or docker-compose, python3. Ends only what it started.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/../.."

make_base= keep=
for a in "$@"; do
  case $a in
    --base) make_base=1 ;;
    --keep) keep=1 ;;
    *) sed -n '2,9s/^# \{0,1\}//p' "$0"; exit 2 ;;
  esac
done

say() { echo "try: $*"; }

# A Debian root of this machine's mirror and certificates as longwave-base:local. For tests: it carries this machine's settings.
base_image() {
  local root mirror envs=() v
  . /etc/os-release
  mirror=$({ cat /etc/apt/sources.list.d/debian.sources /etc/apt/sources.list 2>/dev/null || true; } |
    sed -n 's/^URIs: *\([^ ]*\).*/\1/p; s/^deb \(\[[^]]*\] \)\{0,1\}\([^ ]*\).*/\2/p' | head -n 1)
  root=$(mktemp -d /var/tmp/longwave-base.XXXXXX)
  trap "rm -rf --one-file-system '$root'" RETURN
  say "debootstrap $VERSION_CODENAME"
  debootstrap --variant=minbase --include=ca-certificates "$VERSION_CODENAME" "$root" "$mirror" > "$root.log" 2>&1 ||
    { tail -n 5 "$root.log"; return 1; }
  rm -rf "$root.log" "$root"/etc/apt/sources.list* "$root"/var/cache/apt/*.bin "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/*
  mkdir -p "$root/etc/apt/sources.list.d"
  for v in /etc/apt/sources.list /etc/apt/sources.list.d/debian.sources; do [ ! -e $v ] || cp $v "$root$v"; done
  cp -r /etc/apt/apt.conf.d/. "$root/etc/apt/apt.conf.d/"
  cp -r /etc/ssl/certs/. "$root/etc/ssl/certs/"
  [ ! -e ~/.npmrc ] || install -m 600 ~/.npmrc "$root/root/.npmrc"
  for v in $(compgen -e | grep -E '(_CA_BUNDLE|_CA_CERTS|_CAINFO|_CERT_FILE|_CERT_DIR)$' || true); do envs+=(--change "ENV $v ${!v}"); done
  tar -C "$root" -c . | docker import "${envs[@]}" - longwave-base:local
}

if docker compose version >/dev/null 2>&1; then compose=(docker compose); else compose=(docker-compose); fi
compose+=(-p longwave-try)
if [ -n "$make_base" ]; then
  docker image inspect longwave-base:local >/dev/null 2>&1 || base_image
  export BASE_IMAGE=longwave-base:local
fi

secret() { head -c 24 /dev/urandom | base64; }
ports=($(python3 -c '
import socket
s = [socket.socket(type=t) for t in (socket.SOCK_DGRAM, socket.SOCK_STREAM, socket.SOCK_STREAM, socket.SOCK_STREAM)]
[x.bind(("127.0.0.1", 0)) for x in s]
print(*(x.getsockname()[1] for x in s))'))
LONGWAVE_DB_PASSWORD=$(secret) LONGWAVE_MQTT_PASSWORD=$(secret) LONGWAVE_MQTT_APPLICATION_PASSWORD=$(secret) LONGWAVE_ADMIN_PASSWORD=$(secret)
LONGWAVE_BIND=127.0.0.1 LONGWAVE_UDP_PORT=${ports[0]} LONGWAVE_HTTP_PORT=${ports[1]} LONGWAVE_GRPC_PORT=${ports[2]} LONGWAVE_MQTT_PORT=${ports[3]}
export "${!LONGWAVE_@}"

work=$(mktemp -d)
finish() {
  code=$?
  if [ $code != 0 ]; then "${compose[@]}" ps || true; "${compose[@]}" logs --tail=20 || true; fi
  rm -rf "$work"
  if [ -n "$keep" ]; then
    say "left running: http://127.0.0.1:$LONGWAVE_HTTP_PORT/ user admin, password $LONGWAVE_ADMIN_PASSWORD; end it: ${compose[*]} down -v (with any LONGWAVE_DB_PASSWORD and LONGWAVE_MQTT_PASSWORD)"
  else
    "${compose[@]}" down -v --timeout 20 >/dev/null 2>&1 || say "could not take everything down"
  fi
  exit $code
}
trap finish EXIT

say "building images (the log is shown when it fails)"
"${compose[@]}" build > "$work/build.log" 2>&1 || { tail -n 40 "$work/build.log"; exit 1; }
docker build -q --build-arg BASE_IMAGE="${BASE_IMAGE:-debian:bookworm-slim}" -f deploy/container/Dockerfile --target sim -t longwave/sim:local . >/dev/null 2>>"$work/build.log"

say "starting"
"${compose[@]}" up -d > "$work/up.log" 2>&1 || { cat "$work/up.log"; exit 1; }
for i in $(seq 60); do
  ids=$("${compose[@]}" ps -q)
  states=$(docker inspect -f '{{.Name}} {{.State.Health.Status}}' $ids)
  [ "$(grep -c ' healthy$' <<<"$states")" != 7 ] || break
  [ "$i" != 60 ] || { say "not healthy:"; echo "$states"; exit 1; }
  sleep 2
done
echo "$states"

printf '#!/bin/sh\nexec docker run --rm --network host longwave/sim:local "$@"\n' > "$work/sim"
chmod +x "$work/sim"
python3 deploy/container/try_uplink.py "$work/sim" "${compose[@]}"
