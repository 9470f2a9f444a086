"""The moments between two writes, held open by a disk that waits: what is killed there loses nothing and says nothing twice.
With "acknowledge before the write" or "deliver before the commit" these tests fail (mutants/*.patch)."""

import base64
import json
import time
from collections import Counter
from pathlib import Path

import pytest

import lw
from lw.stack import Stack, World
from power import Disk, library

EARLY_S = 1.0  # what a wrong order lets out early has this long to come out


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    import os
    os.environ["LONGWAVE_STORE"] = "sqlite"  # its files are what is held
    tmp = tmp_path_factory.mktemp("windows")
    s = Stack(tmp, start=False)
    so = library(tmp)
    s.ns_disk = Disk(s.ns, so, tmp, [Path(tmp) / p for p in ("ns-state", "ns.db")], shadow=False)
    s.app_disk = Disk(s.app, so, tmp, [Path(tmp) / p for p in ("app-state", "app.db")], shadow=False)
    s.start()
    yield s
    s.close()


@pytest.fixture
def device(stack):
    w = World(stack)
    g = w.gateway()
    d = w.device()
    w.join(d, g)
    w.send(d, g, data=b"first")
    stack.events.wait(d.dev_eui, "up")
    yield w, d, g
    w.close()


def told(stack, d):
    """Per payload: how often, by deduplicationId."""
    out = {}
    for e in stack.events.of(d.dev_eui, "up"):
        e = json.loads(e.raw)
        out.setdefault(base64.b64decode(e["data"]), Counter())[e["deduplicationId"]] += 1
    return out


def kill_while_held(stack, disk, daemon, part, act, early=lambda: False):
    disk.hold(part)
    try:
        act()
        lw.wait_for(disk.held, 10, text=f"a write to {part}")
        end = time.monotonic() + EARLY_S
        while not early() and time.monotonic() < end:
            time.sleep(0.01)
        daemon.kill()
    finally:
        disk.free()
    daemon.start(wait=False)
    lw.wait_for(lambda: stack.healthy(daemon), 20, text=f"health of {daemon.name}")


def test_an_uplink_before_the_journal_has_it(stack, device):
    """The broker is told "received" after the write, so it gives the frame again."""
    w, d, g = device
    # Its database as well: what is committed there while the journal waits would hide an acknowledgement that came too early.
    kill_while_held(stack, stack.ns_disk, stack.ns, "/ns", lambda: w.send(d, g, data=b"second"))
    stack.events.wait(d.dev_eui, "up", 2)
    w.send(d, g, data=b"third")
    stack.events.wait(d.dev_eui, "up", 3)
    assert {k: sum(n.values()) for k, n in told(stack, d).items()} == {b"first": 1, b"second": 1, b"third": 1}


def test_an_uplink_before_its_commit(stack, device):
    """Nothing is told before the session and the event are written, so it is told once."""
    w, d, g = device
    kill_while_held(stack, stack.ns_disk, stack.ns, "ns.db", lambda: w.send(d, g, data=b"second"),
                    early=lambda: len(stack.events.of(d.dev_eui, "up")) > 1)
    stack.events.wait(d.dev_eui, "up", 2)
    w.send(d, g, data=b"third")
    lw.wait_for(lambda: b"third" in told(stack, d), 10, text="the third uplink")
    assert {k: dict.fromkeys(n.values()) and sum(n.values()) for k, n in told(stack, d).items()} == {b"first": 1, b"second": 1, b"third": 1}
    assert all(len(n) == 1 for n in told(stack, d).values())


def test_a_downlink_counter_before_its_commit(stack, device):
    """Nothing leaves before its counter is written as used, so no counter leaves twice."""
    w, d, g = device
    heard = len(g.log)
    kill_while_held(stack, stack.ns_disk, stack.ns, "ns.db", lambda: w.send(d, g, data=b"second", confirmed=True),
                    early=lambda: len(g.log) > heard)
    stack.events.wait(d.dev_eui, "up", 2)
    w.send(d, g, data=b"third", confirmed=True)
    stack.events.wait(d.dev_eui, "up", 3)
    lw.wait_for(lambda: len(g.log) > heard, 10, text="an acknowledgement")
    frames = [lw.gateway.payload(txpk) for _, txpk, _ in g.log[heard:]]
    counters = Counter(f[6:8] for f in set(frames))
    assert all(n == 1 for n in counters.values()), frames


def test_a_command_before_the_journal_has_it(stack, device):
    """An application's command, held in the app-server's journal."""
    w, d, g = device
    item = {"devEui": d.dev_eui, "fPort": 7, "data": base64.b64encode(b"command").decode()}
    client = lw.Mqtt(stack.mosquitto.port)
    try:
        kill_while_held(stack, stack.app_disk, stack.app, ".jnl",
                        lambda: client.publish(f"application/{w.app}/device/{d.dev_eui}/command/down", json.dumps(item)))
    finally:
        client.close()
    lw.wait_for(lambda: stack.app.metrics()["longwave_as_commands_queued_total"] == 1, 15, 0.1, "the command in the queue")
