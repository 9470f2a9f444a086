#!/bin/sh
# Logs in and reads one message, as a client would. The password goes through a file: arguments are visible to others.
set -eu
umask 077
mkdir -p /tmp/healthy
printf -- '-u longwave\n-P %s\n' "$LONGWAVE_MQTT_PASSWORD" > /tmp/healthy/mosquitto_sub
XDG_CONFIG_HOME=/tmp/healthy exec mosquitto_sub -h 127.0.0.1 -t '$SYS/broker/version' -C 1 -W 3 >/dev/null
