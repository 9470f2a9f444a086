"""A packet-forwarder in Python: two sockets, as the real one has, and a bridge set up for it."""

import json
import os
import select
import socket
import struct

import lw

PUSH_DATA, PUSH_ACK, PULL_DATA, PULL_RESP, PULL_ACK, TX_ACK = range(6)
LORA = {"tmst": 439041101, "chan": 1, "rfch": 1, "freq": 868.3, "stat": 1, "modu": "LORA", "datr": "SF9BW125", "codr": "4/5",
        "rssi": -97, "lsnr": 4.5, "size": 14, "data": "QKTzAQGAKQACpZYRKEE="}


class Gateway:
    def __init__(self, eui, port, version=2):
        self.eui, self.version = bytes.fromhex(eui), version
        self.up, self.down = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
        for s in (self.up, self.down):
            s.connect(("127.0.0.1", port))
        self.token = 0

    @property
    def id(self):
        return self.eui.hex()

    def close(self):
        self.up.close()
        self.down.close()

    @staticmethod
    def recv(sock, timeout=lw.procs.PATIENCE_S):
        """A datagram, or None when there is none within the time."""
        ready, _, _ = select.select([sock], [], [], timeout)
        if not ready:
            return None
        try:
            return sock.recv(65536)
        except ConnectionRefusedError:
            return None

    def head(self, kind, token=None):
        if token is None:
            self.token = (self.token + 1) & 0xFFFF
            token = self.token
        return struct.pack("<BHB", self.version, token, kind) + self.eui

    def pull(self, wait=True):
        self.down.send(self.head(PULL_DATA))
        if wait:
            ack = self.recv(self.down)
            assert ack == struct.pack("<BHB", self.version, self.token, PULL_ACK), ack
        return self

    def push(self, body, token=None, wait=True):
        self.up.send(self.head(PUSH_DATA, token) + json.dumps(body, separators=(",", ":")).encode())
        if wait:
            ack = self.recv(self.up)
            assert ack is not None and ack[3] == PUSH_ACK, ack

    def pull_resp(self, timeout=lw.procs.PATIENCE_S):
        """(token, txpk) of the next PULL_RESP, or None."""
        got = self.recv(self.down, timeout)
        if got is None:
            return None
        assert got[3] == PULL_RESP, got
        return struct.unpack("<H", got[1:3])[0], json.loads(got[4:])["txpk"]

    def tx_ack(self, token, error=None):
        body = b"" if error is None else json.dumps({"txpk_ack": {"error": error}}).encode()
        self.down.send(self.head(TX_ACK, token) + body)


class Bridge:
    """A running bridge with one listener, eu868, and what is needed to talk to it."""

    def __init__(self, tmp, mosquitto, procs, start=True, **config):
        self.udp = lw.free_port(socket.SOCK_DGRAM)
        self.config = {
            "listeners": [{"bind": f"127.0.0.1:{self.udp}", "topic_prefix": "eu868"}],
            "mqtt": {"server": mosquitto.url},
            "state_dir": str(tmp / "state"),
            **config,
        }
        # Under the address sanitizer, memory that was freed must not look like growth.
        env = dict(os.environ, ASAN_OPTIONS="quarantine_size_mb=1")
        self.daemon = lw.Daemon("gateway-bridge", self.config, tmp, env)
        procs.append(self.daemon)
        if start:
            self.daemon.start()

    def gateway(self, eui="0016c001f1500812", version=2):
        return Gateway(eui, self.udp, version)


class Fence:
    """Tells "nothing came" from "not yet": a second gateway whose traffic goes the same way behind it."""

    def __init__(self, bridge, mqtt, marshaler):
        self.gw = bridge.gateway("00000000000000fe")
        self.mqtt, self.json = mqtt, marshaler == "json"
        self.gw.pull()
        self.topic = f"eu868/gateway/{self.gw.id}"
        mqtt.take(f"{self.topic}/state/conn")
        self.n = 0

    def events(self):
        """All events published so far, those of the fence left out."""
        self.gw.push({"rxpk": [LORA]})
        got = self.mqtt.take_until(lambda m: m.topic == f"{self.topic}/event/up")
        return [m for m in got if self.gw.id not in m.topic]

    def commands(self):
        """Returns when all commands published so far have been dealt with."""
        self.n += 1
        frame = {"gatewayId": self.gw.id, "downlinkId": self.n, "items": [{
            "phyPayload": "YA==", "txInfo": {"frequency": 868100000, "power": 14, "timing": {"immediately": {}},
                                             "modulation": {"lora": {"bandwidth": 125000, "spreadingFactor": 7}}}}]}
        self.mqtt.publish(f"{self.topic}/command/down", encode("gw.DownlinkFrame", frame, self.json))
        token, _ = self.gw.pull_resp()
        self.gw.tx_ack(token)


def encode(name, body, as_json):
    from google.protobuf import json_format
    if as_json:
        return json.dumps(body)
    return json_format.ParseDict(body, lw.message(name)()).SerializeToString()
