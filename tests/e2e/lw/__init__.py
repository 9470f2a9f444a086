"""What the end-to-end tests share: processes with free ports, waiting without sleeping for luck, MQTT and protobuf.
Everything here is an independent client of the daemons; nothing imports their code."""

from lw.procs import Daemon, Mosquitto, build_dir, free_port, start_daemon, start_mosquitto, wait_for
from lw.mqtt import Mqtt
from lw.pb import message

__all__ = ["Daemon", "Mosquitto", "Mqtt", "build_dir", "free_port", "message", "start_daemon", "start_mosquitto", "wait_for"]
