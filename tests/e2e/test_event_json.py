"""Events against the tables of the integration contract: which members, in which order, written how."""

import base64
import json
import re
from collections import OrderedDict

import pytest

import lw
from lw.gateway import payload
from lw.stack import World

DEVICE_INFO = ["tenantId", "tenantName", "applicationId", "applicationName", "deviceProfileId", "deviceProfileName", "deviceName",
               "devEui", "deviceClassEnabled", "tags"]
# In order; those with "?" are messages, present only when set.
MEMBERS = {
    "up": ["deduplicationId", "time", "deviceInfo", "devAddr", "adr", "dr", "fCnt", "fPort", "confirmed", "data", "object?", "rxInfo",
           "txInfo", "relayRxInfo?", "joinServerContext?", "regionConfigId"],
    "join": ["deduplicationId", "time", "deviceInfo", "devAddr", "relayRxInfo?", "joinServerContext?", "regionConfigId"],
    "ack": ["deduplicationId", "time", "deviceInfo", "queueItemId", "acknowledged", "fCntDown"],
    "txack": ["downlinkId", "time", "deviceInfo", "queueItemId", "fCntDown", "gatewayId", "txInfo"],
    "log": ["time", "deviceInfo", "level", "code", "description", "context"],
    "status": ["deduplicationId", "time", "deviceInfo", "margin", "externalPowerSource", "batteryLevelUnavailable", "batteryLevel"],
    "location": ["deduplicationId", "time", "deviceInfo", "location"],
}
UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{3}|\.\d{6}|\.\d{9})?\+00:00"


def check_members(kind, raw):
    """The text has exactly the members of its kind, in order, compactly; returns it decoded."""
    text = raw.decode()
    body = json.loads(text, object_pairs_hook=OrderedDict)
    optional = {m[:-1] for m in MEMBERS[kind] if m.endswith("?")}
    order = [m.rstrip("?") for m in MEMBERS[kind]]
    assert [m for m in order if m in body or m not in optional] == list(body), f"{kind}: {text}"
    assert list(body["deviceInfo"]) == DEVICE_INFO
    assert re.fullmatch(TIME, body["time"]), body["time"]
    if "deduplicationId" in body:
        assert re.fullmatch(UUID, body["deduplicationId"])
    # Compact: no space outside of strings, nothing around.
    assert not re.search(r"\s", re.sub(r'"(?:[^"\\]|\\.)*"', "", text))
    return body


@pytest.fixture
def tagged(net):
    w = World(net, tags={"site": "north", "floor": "1"})
    yield w
    w.close()


def info(w, d, tags):
    return OrderedDict([
        ("tenantId", w.tenant), ("tenantName", f"tenant {w.n}"), ("applicationId", w.app), ("applicationName", f"application {w.n}"),
        ("deviceProfileId", list(w.profiles.values())[0]), ("deviceProfileName", "profile 0"), ("deviceName", f"device {d.dev_eui[-4:]}"),
        ("devEui", d.dev_eui), ("deviceClassEnabled", "CLASS_A"), ("tags", OrderedDict(tags))])


def test_up_join_txack_ack(tagged):
    """Every member of four events against what really happened."""
    w, events = tagged, tagged.stack.events
    gw = w.gateway(position=(52.3731, 4.8922, 12.0))
    d = w.device(tags={"floor": "2", "color": "red"}, profile=w.profile(tags={"kind": "probe", "site": "south"}))
    all_tags = {"site": "south", "floor": "2", "kind": "probe", "color": "red"}
    w.join(d, gw)
    events.wait(d.dev_eui, "join")
    join = check_members("join", events.of(d.dev_eui, "join")[0].raw)
    assert join["devAddr"] == f"{d.dev_addr:08x}" and join["regionConfigId"] == "eu868"
    assert join["deviceInfo"] == info(w, d, all_tags) or dict(join["deviceInfo"]["tags"]) == all_tags
    item = w.enqueue(d, b"down", confirmed=True)
    d.tx_channel, d.dr = 1, 3
    _, rx = w.send(d, gw, data=b"\1\2\3", f_port=2, adr=True)
    w_up = events.wait(d.dev_eui, "up")
    raw = events.of(d.dev_eui, "up")[0].raw
    up = check_members("up", raw)
    got = up["rxInfo"][0]
    assert re.fullmatch(TIME, got["nsTime"])
    # Members of gw messages that have their default are left out; what remains is in the schema's order.
    want_rx = OrderedDict([
        ("gatewayId", gw.id), ("uplinkId", got["uplinkId"]), ("nsTime", got["nsTime"]), ("rssi", -60), ("snr", 9.5), ("channel", 2),
        ("rfChain", 1), ("location", OrderedDict([("latitude", 52.3731), ("longitude", 4.8922), ("altitude", 12.0)])),
        ("context", base64.b64encode(rx["tmst"].to_bytes(4, "big")).decode()),
        ("metadata", OrderedDict([("region_common_name", "EU868"), ("region_config_id", "eu868")])), ("crcStatus", "CRC_OK")])
    assert sorted(got["metadata"].items()) == sorted(want_rx["metadata"].items())
    want_rx["metadata"] = got["metadata"]
    want = OrderedDict([
        ("deduplicationId", up["deduplicationId"]), ("time", up["time"]), ("deviceInfo", up["deviceInfo"]),
        ("devAddr", f"{d.dev_addr:08x}"), ("adr", True), ("dr", 3), ("fCnt", 0), ("fPort", 2), ("confirmed", False), ("data", "AQID"),
        ("rxInfo", [want_rx]),
        ("txInfo", OrderedDict([("frequency", 868300000), ("modulation", OrderedDict([("lora", OrderedDict([
            ("bandwidth", 125000), ("spreadingFactor", 9), ("codeRate", "CR_4_5")]))]))])),
        ("regionConfigId", "eu868")])
    assert json.dumps(up) == json.dumps(want)
    assert dict(up["deviceInfo"]["tags"]) == all_tags
    assert {**up["deviceInfo"], "tags": 0} == {**info(w, d, {}), "tags": 0}
    assert '"altitude":12.0' in raw.decode()  # doubles are written as such

    d.downlink(payload(gw.next_txpk()))
    events.wait(d.dev_eui, "txack")
    sent = check_members("txack", events.of(d.dev_eui, "txack")[0].raw)
    assert dict(sent["deviceInfo"]["tags"]) == {"kind": "probe", "site": "south", "floor": "2", "color": "red"}
    assert (sent["queueItemId"], sent["fCntDown"], sent["gatewayId"]) == (item, 0, gw.id) and sent["downlinkId"] > 0
    assert json.dumps(sent["txInfo"]) == json.dumps(OrderedDict([
        ("frequency", 868300000), ("power", 16), ("modulation", OrderedDict([("lora", OrderedDict([
            ("bandwidth", 125000), ("spreadingFactor", 9), ("codeRate", "CR_4_5"), ("polarizationInversion", True)]))])),
        ("timing", {"delay": {"delay": "1s"}}), ("context", want_rx["context"])]))
    w.send(d, gw, data=b"")
    events.wait(d.dev_eui, "ack")
    ack = check_members("ack", events.of(d.dev_eui, "ack")[0].raw)
    assert ack["acknowledged"] is True and ack["queueItemId"] == item and ack["fCntDown"] == 0
    empty = events.wait(d.dev_eui, "up", 2)
    assert empty["data"] == "" and w_up["deduplicationId"] != empty["deduplicationId"] == ack["deduplicationId"]


def test_log_and_status(tagged):
    w, events = tagged, tagged.stack.events
    gw = w.gateway()
    d = w.device(otaa=False)
    phy, _ = w.send(d, gw, data=b"x", fopts=bytes([0x06, 127, 0x3F]))  # DevStatusAns: battery 127, margin -1
    events.wait(d.dev_eui, "status")
    status = check_members("status", events.of(d.dev_eui, "status")[0].raw)
    assert (status["margin"], status["externalPowerSource"], status["batteryLevelUnavailable"]) == (-1, False, False)
    assert status["batteryLevel"] == pytest.approx(50.0)
    assert b'"batteryLevel":50.0}' in events.of(d.dev_eui, "status")[0].raw
    for battery, external, unavailable in ((0, True, False), (255, False, True)):
        n = len(events.of(d.dev_eui, "status"))
        w.send(d, gw, data=b"x", fopts=bytes([0x06, battery, 10]))
        s = events.wait(d.dev_eui, "status", n + 1)
        assert (s["externalPowerSource"], s["batteryLevelUnavailable"], s["batteryLevel"], s["margin"]) == (external, unavailable, 0.0, 10)
    shown = w.rest.get(f"/api/devices/{d.dev_eui}")
    lw.wait_for(lambda: w.rest.get(f"/api/devices/{d.dev_eui}")["deviceStatus"], text="device status in the API")
    assert shown["device"]["devEui"] == d.dev_eui
    gw.uplink(phy, d.hz, d.datr)
    events.wait(d.dev_eui, "log")
    log = check_members("log", events.of(d.dev_eui, "log")[0].raw)
    assert log["level"] == "WARNING" and re.fullmatch(UUID, log["context"]["deduplication_id"])


def test_not_retained_and_on_the_device_topic(world):
    gw = world.gateway()
    d = world.device(otaa=False)
    world.send(d, gw, data=b"x")
    world.stack.events.wait(d.dev_eui, "up")
    e = world.stack.events.of(d.dev_eui)[0]
    assert e.app == world.app and not e.retain
    late = lw.Mqtt(world.stack.mosquitto.port, f"application/{world.app}/#")
    late.publish("application/fence", b"x")
    late.subscribe("application/fence2")
    late.publish("application/fence2", b"x")
    assert [m.topic for m in late.take_until(lambda m: m.topic == "application/fence2")] == ["application/fence2"]
    late.close()
