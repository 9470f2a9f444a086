#!/bin/sh
# Users and rights from the environment (into /tmp, which is memory), then the broker.
set -eu
: "${LONGWAVE_MQTT_PASSWORD:?LONGWAVE_MQTT_PASSWORD is not set}"
umask 077
printf 'longwave:%s\n' "$LONGWAVE_MQTT_PASSWORD" > /tmp/passwords
printf 'user longwave\ntopic readwrite #\ntopic read $SYS/#\n' > /tmp/rights
if [ -n "${LONGWAVE_MQTT_APPLICATION_PASSWORD:-}" ]; then
  printf 'application:%s\n' "$LONGWAVE_MQTT_APPLICATION_PASSWORD" >> /tmp/passwords
  printf '\nuser application\ntopic read application/+/device/+/event/+\ntopic write application/+/device/+/command/+\n' >> /tmp/rights
fi
mosquitto_passwd -U /tmp/passwords
exec mosquitto -c /etc/longwave/mosquitto.conf
