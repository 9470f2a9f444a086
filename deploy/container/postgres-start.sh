#!/bin/sh
# Makes the cluster at the first start (password from the environment), then becomes the server.
set -eu
bin=$(ls -d /usr/lib/postgresql/*/bin | sort -V | tail -n 1)
data=/var/lib/postgresql/data/cluster
if [ ! -s "$data/PG_VERSION" ]; then
  : "${POSTGRES_PASSWORD:?POSTGRES_PASSWORD is not set}"
  rm -rf "$data.new"
  umask 077
  printf '%s\n' "$POSTGRES_PASSWORD" > /tmp/password
  "$bin/initdb" -D "$data.new" -U longwave --pwfile=/tmp/password --auth-host=scram-sha-256 --auth-local=scram-sha-256 -E UTF8 --locale=C.UTF-8 >/dev/null
  rm -f /tmp/password
  echo "host all all all scram-sha-256" >> "$data.new/pg_hba.conf"
  echo "CREATE DATABASE longwave" | "$bin/postgres" --single -D "$data.new" -j postgres >/dev/null
  mv "$data.new" "$data"
fi
exec "$bin/postgres" -D "$data" -c listen_addresses='*' -c unix_socket_directories=/tmp
