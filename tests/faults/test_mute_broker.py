"""A broker that accepts everything and acknowledges nothing, under traffic, and then is well again: the daemons name it, leave it
and come back, keep what it did not acknowledge within bounds, and in the end everything has arrived once."""

import os

import pytest

import lw
import report
from field import Field
from lw.stack import Stack, World
from mute import MODES, MuteBroker

PATIENCE_S = 30
PATIENT = {"acknowledge_timeout": "2s"}
BURST = 6000  # more than the bridge has under way at a time
ROOM_KB = 64 * 1024


def stalls(d):
    return next(v for k, v in d.metrics().items() if k.endswith("_mqtt_stalls_total"))


def burst(gateway, d):
    """Uplinks of a device that nobody knows, no faster than the bridge takes them from the network."""
    phy = d.uplink(b"x")
    for _ in range(BURST // 50):
        token = gateway.push({"rxpk": [gateway.rxpk(phy[:-4] + os.urandom(4), d.hz, d.datr) for _ in range(50)]})
        gateway.wait_acked(token, 20)


def unknown(stack):
    return stack.ns.metrics().get('longwave_ns_uplink_drops_total{reason="UNKNOWN_DEVICE"}', 0)


@pytest.mark.parametrize("mode", [m for m in MODES if m != "clear"])
def test_a_broker_that_never_acknowledges(tmp_path, mode):
    broker = MuteBroker()
    mqtt = {"mqtt": {"server": broker.url, **PATIENT}}
    os.environ["LONGWAVE_STORE"] = "sqlite"
    stack = Stack(tmp_path, start=False, **{"gateway-bridge": mqtt, "network-server": mqtt, "app-server": mqtt})
    broker.target = stack.mosquitto.port
    # The network-server has its turn when it has something to say, the app-server when it hears of anything.
    talkers = (stack.bridge, stack.app) if mode == "unacknowledged" else (stack.bridge,)
    field, r = None, report.Report()
    try:
        stack.start()
        field = Field(World(stack), int.from_bytes(os.urandom(3), "big"), class_a=10, class_c=2, joiners=3)
        stranger, gateway = field.world.device(register=False), field.world.gateway()
        field.world.activate(stranger, register=False)
        field.start(6)
        before = {d: d.rss_kb() for d in stack.daemons}
        broker.mute(mode)
        burst(gateway, stranger)
        for d in talkers:
            lw.wait_for(lambda: stalls(d) >= 2, 25, step=0.1, text=f"{d.name} notices, and again")
            assert "the broker does not acknowledge" in d.output()
        grown = {d.name: d.rss_kb() - before[d] for d in stack.daemons}
        assert max(grown.values()) < ROOM_KB, grown
        assert broker.kept > 0
        broker.heal()
        field.stop()
        left = field.settle(PATIENCE_S)
        stack.wait_healthy(30)
        lw.wait_for(lambda: unknown(stack) >= BURST, 30, step=0.1, text="all of the burst")
        report.stuck(r, stack, 20)
        report.drops(r, stack)
        report.uplinks(r, field, [])
        report.joins(r, field)
        report.downlinks(r, field, {i for ids in field.queued().values() for i in ids})
        print(r.text())
        assert not left, f"still waiting for: {left}"
        assert not r.failures, r.text()
    except BaseException:
        for name, text in stack.logs(40):
            print(f"--- last words of {name}\n{text}")
        raise
    finally:
        if field:
            field.close()
            field.world.close()
        stack.close()
        broker.close()
