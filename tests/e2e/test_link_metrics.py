"""What is counted of links, through the API: devices, gateways, duty cycles."""

import datetime
import time
import urllib.parse

import pytest

from lw.procs import PATIENCE_S
from lw.stack import Stack, World


@pytest.fixture
def own(tmp_path):
    """For tests that end a daemon."""
    stack = Stack(tmp_path)
    w = World(stack)
    yield w
    w.close()
    stack.close()


def at(seconds=0):
    t = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=seconds)
    return t.strftime("%Y-%m-%dT%H:%M:%SZ")


def metrics(world, path, aggregation="HOUR", back=3600):
    q = {"start": at(-back), "end": at(), "aggregation": aggregation}
    return world.rest.get(f"{path}?{urllib.parse.urlencode(q)}")


def total(metric, label):
    return sum(sum(d["data"]) for d in metric["datasets"] if d["label"] == label)


def until(wanted, timeout=PATIENCE_S):
    end = time.monotonic() + timeout
    while True:
        got = wanted()
        if got or time.monotonic() > end:
            return got
        time.sleep(0.05)


def device_path(d):
    return f"/api/devices/{d.dev_eui}/link-metrics"


def test_a_device_after_uplinks_and_a_restart(own):
    world = own
    gw = world.gateway()
    d = world.device(otaa=False)
    for _ in range(3):
        world.send(d, gw, data=b"x")
    phy = d.uplink(b"x")
    gw.uplink(phy[:-1] + bytes([phy[-1] ^ 1]), d.hz, d.datr)
    world.stack.wait_frame("MIC_MISMATCH", dev_eui=d.dev_eui)

    def check(aggregation):
        m = until(lambda: (lambda m: m if total(m["errors"], "MIC_MISMATCH") else None)(metrics(world, device_path(d), aggregation)))
        assert total(m["rxPackets"], "rx_count") == 3 and m["rxPackets"]["name"] == "Received"
        assert total(m["rxPacketsPerFreq"], str(d.hz)) == 3 and m["rxPacketsPerFreq"]["name"] == "Received / frequency"
        assert sum(sum(s["data"]) for s in m["rxPacketsPerDr"]["datasets"]) == 3
        rssi = [v for v in m["gwRssi"]["datasets"][0]["data"] if v]
        assert rssi and all(-150 < v < 0 for v in rssi) and m["gwRssi"]["kind"] == "ABSOLUTE"
        assert total(m["errors"], "MIC_MISMATCH") == 1
        assert len(m["rxPackets"]["timestamps"]) == len(m["rxPackets"]["datasets"][0]["data"])
        return m

    assert 2 <= len(check("HOUR")["rxPackets"]["timestamps"]) <= 3
    check("DAY")
    check("MONTH")
    world.stack.ns.stop()  # an orderly end writes what was in memory
    world.stack.ns.start(wait=False)
    world.stack.wait_healthy()
    check("HOUR")


def test_a_gateway_and_its_duty_cycle(world):
    gw = world.gateway()
    d = world.device(otaa=False)
    world.enqueue(d, b"an answer")
    world.send(d, gw, data=b"x")
    gw.next_txpk()
    path = f"/api/gateways/{gw.id}/metrics"

    def reported():
        gw.push({"stat": {"time": "2026-11-23 00:00:00 GMT", "rxnb": 7, "rxok": 5, "rxfw": 5, "ackr": 100.0, "dwnb": 1, "txnb": 1}})
        m = metrics(world, path)
        return m if total(m["rxPackets"], "rx_count") > 0 else None

    m = until(reported)
    assert m["rxPackets"]["name"] == "Received" and m["txPackets"]["name"] == "Transmitted"
    assert m["txPacketsPerStatus"]["name"] == "TX packets / status"
    duty = until(lambda: (lambda r: r if r["maxLoadPercentage"]["datasets"] else None)(
        world.rest.get(f"/api/gateways/{gw.id}/duty-cycle-metrics?" + urllib.parse.urlencode({"start": at(-600), "end": at()}))))
    band = duty["maxLoadPercentage"]["datasets"][0]
    assert band["label"].endswith("MHz, 1 %") and 0 < max(band["data"]) < 5
    assert len(duty["windowPercentage"]["timestamps"]) in (11, 12)
    assert max(duty["windowPercentage"]["datasets"][0]["data"]) == pytest.approx(max(band["data"]) / 100, rel=1e-3)


def test_questions_that_cannot_be_answered(world):
    d = world.device(otaa=False)
    for query, word in (("", "start"), (f"start={at()}", "end"), (f"start={at()}&end={at(-7200)}", "before"),
                        (f"start={at(-9999)}&end={at()}&aggregation=MINUTE", "aggregation"),
                        (f"start=2001-01-01T00:00:00Z&end={at()}", "1500")):
        status, answer = world.rest.request("GET", f"{device_path(d)}?{query}")
        assert status == 400 and word in answer["message"], (query, answer)
    status, _ = world.rest.request("GET", "/api/devices/00000000000000ff/link-metrics?" + f"start={at(-60)}&end={at()}")
    assert status == 404
    anonymous = type(world.rest)(world.rest.base)
    assert anonymous.request("GET", f"{device_path(d)}?start={at(-60)}&end={at()}")[0] == 401


def test_measurements_have_names_before_anything_decodes_payloads(world):
    profile = world.profile(name="with measurements", measurements={"t": {"name": "Temperature", "kind": "GAUGE"},
                                                                    "s": {"name": "State", "kind": "STRING"}})
    d = world.device(profile=profile)
    m = metrics(world, f"/api/devices/{d.dev_eui}/metrics")
    assert m["metrics"]["t"]["name"] == "Temperature" and m["metrics"]["t"]["datasets"] == []
    assert m["states"]["s"] == {"name": "State", "value": ""}


def test_what_does_not_come(world):
    """Rhythm, overdue uplinks and counters that never came; air time of both directions."""
    gw = world.gateway()
    d = world.device(otaa=False)
    path = f"/api/longwave/devices/{d.dev_eui}/link"
    assert metrics(world, path)["cadence"] is None
    world.send(d, gw, data=b"x")
    for _ in range(2):
        d.uplink(b"nobody hears this")
    for _ in range(5):
        world.send(d, gw, data=b"x")
    world.stack.events.wait(d.dev_eui, "up", 6)
    link = until(lambda: (lambda m: m if m["nextFCnt"] == 8 and total(m["lost"], "lost") else None)(metrics(world, path)))
    assert link["missingFCnts"] == [1, 2]
    assert total(link["lost"], "lost") == 2
    assert 6 * 30 < total(link["uplinkAirtime"], "ms") < 6 * 3000
    # Whether uplinks that came as fast as this machine lets them show a rhythm is its own affair: what the network-server sees is shown.
    listed = world.stack.ns_api.call("longwave.ns.v1.NetworkServer/ListFrames", limit=200, dev_eui=d.dev_eui)
    cadence = metrics(world, path)["cadence"]
    assert (cadence is not None) == listed.HasField("cadence")
    if cadence:
        assert cadence["intervalS"] == listed.cadence.interval_s and cadence["lastUplink"] and cadence["nextExpected"]
    status, answer = world.rest.request("GET", path)
    assert status == 400 and "start" in answer["message"]


def test_without_a_frame_log_the_rest_is_there(own):
    world = own
    d = world.device(otaa=False)
    world.send(d, world.gateway(), data=b"x")
    world.stack.events.wait(d.dev_eui, "up")
    world.stack.redis.stop()
    try:
        link = metrics(world, f"/api/longwave/devices/{d.dev_eui}/link")
        assert link["cadence"] is None and link["nextFCnt"] > 0
    finally:
        world.stack.redis.start()
        world.stack.wait_healthy()
