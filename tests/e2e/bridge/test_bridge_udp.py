"""The recording of the reference bridge (tests/vectors/bridge-udp.json), replayed whole against ours, with both marshalers.
Where we answer otherwise is listed, with the reason, in tests/vectors/intended-differences.json."""

import json
import re
from pathlib import Path

import pytest
from google.protobuf import json_format

import lw
from bridge.gateway import Bridge, Fence, Gateway

VECTORS = Path(__file__).resolve().parents[2] / "vectors"
RECORDING = json.loads((VECTORS / "bridge-udp.json").read_text())
DIFFERENCES = {d["case"]: d for d in json.loads((VECTORS / "intended-differences.json").read_text())["bridge-udp"]}
TYPES = {"up": "gw.UplinkFrame", "stats": "gw.GatewayStats", "ack": "gw.DownlinkTxAck", "conn": "gw.ConnState"}
TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?)(?:Z|\+00:00)")


def message_type(topic):
    return lw.message(TYPES[topic.rsplit("/", 1)[1]])


def normal(value):
    """JSON with times in one spelling and lists without order (the reference publishes counts in no order)."""
    if isinstance(value, dict):
        return {k: normal(v) for k, v in value.items()}
    if isinstance(value, list):
        return sorted((normal(v) for v in value), key=lambda v: json.dumps(v, sort_keys=True))
    if isinstance(value, str) and TIME.fullmatch(value):
        return TIME.fullmatch(value)[1] + "Z"
    return value


def as_dict(topic, payload, marshaler):
    """What a payload says, read by Python's protobuf."""
    m = message_type(topic)()
    if marshaler == "json":
        json_format.Parse(payload, m)
    else:
        m.ParseFromString(payload)
        assert not m.UnknownFields(), "fields outside the schema"
    return normal(json_format.MessageToDict(m))


def expected(recorded):
    """The recorded message in the same form."""
    if "json" in recorded:
        return recorded["topic"], as_dict(recorded["topic"], json.dumps(recorded["json"]), "json")
    return recorded["topic"], as_dict(recorded["topic"], bytes.fromhex(recorded["protobuf_hex"]), "protobuf")


def compare(got, recorded, marshaler):
    def order(v):
        return sorted(v, key=lambda e: json.dumps(e, sort_keys=True))

    got = [m for m in got if not m.topic.endswith("/marker")]  # the bridge's own, see link/republish.h
    assert order((m.topic, as_dict(m.topic, m.payload, marshaler)) for m in got) == order(expected(r) for r in recorded)
    assert all(not m.retain for m in got)
    if marshaler == "json":
        # The text itself: names, numbers and defaults as the contract has them.
        assert order(normal(json.loads(m.payload)) for m in got) == order(
            normal(r["json"]) if "json" in r else json_format.MessageToDict(expected(r)) for r in recorded)
    elif all("protobuf_hex" in r for r in recorded):
        assert sorted(len(m.payload) for m in got) == sorted(len(r["protobuf_hex"]) // 2 for r in recorded)


def with_difference(kind, step):
    return {**step, **{k: v for k, v in DIFFERENCES.get(f"{kind}/{step['name']}", {}).items() if k not in ("case", "reason")}}


class Session:
    def __init__(self, tmp, mosquitto, procs, marshaler):
        self.marshaler, self.rec = marshaler, RECORDING[marshaler]
        self.bridge = Bridge(tmp, mosquitto, procs, marshaler=marshaler, metadata=["serial=A1B2"])
        self.mqtt = lw.Mqtt(mosquitto.port, "#")
        self.fence = Fence(self.bridge, self.mqtt, marshaler)
        self.gw = self.bridge.gateway()
        self.first_pull()

    def first_pull(self):
        r = self.rec["first_pull"]
        self.gw.down.send(bytes.fromhex(r["sent"]))
        assert Gateway.recv(self.gw.down).hex() == r["reply"]
        compare(self.fence.events(), r["published"], self.marshaler)

    def datagram(self, step, data):
        self.gw.up.send(data)
        if step["reply"] is not None:
            reply = Gateway.recv(self.gw.up)
            assert reply is not None and reply.hex() == step["reply"]
        compare(self.fence.events(), step["published"], self.marshaler)
        assert Gateway.recv(self.gw.up, 0) is None

    def down(self, step):
        if self.marshaler == "json":
            command = json.dumps(step["command_json"])
        else:
            command = bytes.fromhex(step["command_protobuf_hex"])
        self.mqtt.publish(f"eu868/gateway/{self.gw.id}/command/down", command)
        for r in step["pull_resp"]:
            if r is None:
                continue
            got = Gateway.recv(self.gw.down)
            head = bytes.fromhex(r["head"])
            if step.get("token_of_each") and r is not step["pull_resp"][0]:
                assert got is not None and got[1:3] != head[1:3]
                head = head[:1] + got[1:3] + head[3:]
            assert got is not None and got[:4] == head
            assert len(got) <= 999
            want = {"txpk": {**r["json"]["txpk"], **step.get("txpk", {})}}
            assert json.loads(got[4:]) == want
            if "tx_ack_sent" in r:
                ack = bytes.fromhex(r["tx_ack_sent"])
                self.gw.down.send(ack[:1] + got[1:3] + ack[3:])
        self.fence.commands()
        # The fence's own command and acknowledgement are not of interest.
        got = [m for m in self.fence.events() if "/command/" not in m.topic]
        compare(got, step["published"], self.marshaler)
        assert Gateway.recv(self.gw.down, 0) is None, "one more PULL_RESP"


@pytest.mark.parametrize("marshaler", ["protobuf", "json"])
def test_recording(tmp_path, mosquitto, procs, marshaler):
    s = Session(tmp_path, mosquitto, procs, marshaler)
    failed = []

    def run(name, fn, *args):
        try:
            fn(*args)
        except AssertionError as e:
            failed.append(f"{name}: {e}")

    for step in s.rec["push"]:
        data = bytes.fromhex(step["datagram_head"]) + json.dumps(step["datagram_json"], separators=(",", ":")).encode()
        run(f"push/{step['name']}", s.datagram, with_difference("push", step), data)
    for step in s.rec["raw"]:
        # PULL_ACK goes where PULL_DATA came from, so one socket serves all of these.
        run(f"raw/{step['name']}", s.datagram, with_difference("raw", step), bytes.fromhex(step["datagram_hex"]))
    s.gw.pull()  # version 2 again, from the other socket
    for step in s.rec["down"]:
        run(f"down/{step['name']}", s.down, with_difference("down", step))
    assert not failed, "\n".join(failed)
    assert (len(s.rec["push"]), len(s.rec["raw"]), len(s.rec["down"])) == (36, 8, 26)

    s.mqtt.take_all()
    assert s.bridge.daemon.stop() == 0
    got = s.mqtt.take_until(lambda m: m.topic == f"eu868/gateway/{s.gw.id}/state/conn")[-1:]
    shutdown = s.rec["on_shutdown"]
    compare(got, shutdown if isinstance(shutdown, list) else [shutdown], marshaler)


def test_each_difference_is_of_the_recording():
    """A case that is no longer in the recording must leave the list."""
    known = {f"{kind}/{s['name']}" for kind in ("push", "raw", "down") for s in RECORDING["json"][kind]}
    assert set(DIFFERENCES) <= known
    assert all(d["reason"] for d in DIFFERENCES.values())
