"""A device that floods is put in quarantine, says so everywhere, and is let out by hand."""

import pytest

from lw.procs import wait_for
from lw.rpc import Rpc
from lw.stack import Stack, World
from test_link_metrics import metrics, total, until


@pytest.fixture
def world(tmp_path):
    stack = Stack(tmp_path, **{"network-server": {
        "quarantine": {"airtime_percent": 1, "joins": 4, "after": 1, "duration": "1h"}}})
    w = World(stack)
    yield w
    w.close()
    stack.close()


def path(d, what):
    return f"/api/longwave/devices/{d.dev_eui}/{what}"


def held(world, d):
    return until(lambda: metrics(world, path(d, "link"))["quarantine"])


def test_flood_of_uplinks(world):
    gw = world.gateway()
    d, other = world.device(otaa=False), world.device(otaa=False)
    assert metrics(world, path(d, "link"))["quarantine"] is None
    for n in range(200):  # 46 ms each; a new minute may begin meanwhile
        world.send(d, gw, data=b"flood")
        if n > 10 and metrics(world, path(d, "link"))["quarantine"]:
            break
    q = held(world, d)
    assert q["cause"] == "UPLINKS" and q["limit"] == 1 and q["measured"] >= 1
    world.send(d, gw, data=b"flood")
    frame = world.stack.wait_frame("QUARANTINED", dev_eui=d.dev_eui)
    assert "1 % are allowed" in frame.detail
    world.send(other, gw, data=b"x")
    world.stack.events.wait(other.dev_eui, "up")
    errors = until(lambda: total(metrics(world, f"/api/devices/{d.dev_eui}/link-metrics")["errors"], "QUARANTINED"))
    assert errors >= 1
    assert world.stack.ns.metrics()["longwave_ns_quarantines_total"] == 1
    # Let out, it is heard again; once more there is nothing to release.
    before = len(world.stack.events.of(d.dev_eui, "up"))
    world.rest.delete(path(d, "quarantine"))
    world.send(d, gw, data=b"mended")
    world.stack.events.wait(d.dev_eui, "up", before + 1)
    status, answer = world.rest.request("DELETE", path(d, "quarantine"))
    assert status == 404 and "no quarantine" in answer["message"]
    reader = type(world.rest)(world.rest.base)
    assert reader.request("DELETE", path(d, "quarantine"))[0] == 401


def test_flood_of_joins(world):
    """One request passes now and then; meanwhile the session that there is goes on."""
    gw = world.gateway()
    d = world.device()
    world.join(d, gw)
    for _ in range(20):
        d.dev_nonce += 1
        gw.uplink(d.join_request(), d.hz, d.datr)
    frame = world.stack.wait_frame("QUARANTINED", dev_eui=d.dev_eui)
    assert "join-requests in a minute" in frame.detail
    assert held(world, d)["cause"] == "JOINS"


def test_two_replicas_know_of_it_and_of_its_end(tmp_path):
    stack = Stack(tmp_path, replicas=2, **{"network-server": {"quarantine": {"airtime_percent": 1, "after": 1, "duration": "1h"}}})
    try:
        w = World(stack)
        gw, d = w.gateway(), w.device(otaa=False)
        servers = [Rpc(p) for p in stack.ns_ports]

        def holding():
            return [s.call("longwave.ns.v1.NetworkServer/GetQuarantine", dev_eui=d.dev_eui).HasField("quarantine") for s in servers]

        for _ in range(300):
            w.send(d, gw, data=b"flood")
            if any(holding()):
                break
        wait_for(lambda: all(holding()), text="both network-servers to hold the device")
        w.rest.delete(path(d, "quarantine"))
        wait_for(lambda: not any(holding()), text="both network-servers to let it go")
        for s in servers:  # whichever is asked: the other one may have been first
            s.call("longwave.ns.v1.NetworkServer/ReleaseQuarantine", dev_eui=d.dev_eui)
        w.close()
    finally:
        stack.close()
