"""A full disk and a read-only folder: a named error, no corruption, and recovery without hands."""

import base64
import json
import os
import time
from pathlib import Path

import pytest

import lw
from lw.stack import Stack, World
from power import Disk, library


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    os.environ["LONGWAVE_STORE"] = "sqlite"
    tmp = tmp_path_factory.mktemp("adversity")
    s = Stack(tmp, start=False)
    s.ns_disk = Disk(s.ns, library(tmp), tmp, [Path(tmp) / p for p in ("ns-state", "ns.db")], shadow=False)
    s.app_disk = Disk(s.app, library(tmp), tmp, [Path(tmp) / "app-state"], shadow=False)
    s.start()
    yield s
    s.close()


def test_the_network_servers_disk_is_full(stack):
    """Frames wait in memory, unwritten and untold, and go on when there is room."""
    w = World(stack)
    g, d = w.gateway(), w.device()
    w.join(d, g)
    w.send(d, g, data=b"0")
    stack.events.wait(d.dev_eui, "up")
    stack.ns_disk.fill("/ns")
    for i in range(1, 6):
        w.send(d, g, data=b"%d" % i)
    stack.ns.wait_output("(cannot be written|No space left|disk is full|database or disk)")
    time.sleep(1)  # longer than it would take to tell something that is not written
    assert len(stack.events.of(d.dev_eui, "up")) == 1
    stack.ns_disk.free()
    stack.events.wait(d.dev_eui, "up", 6, timeout=30)
    assert stack.ns.running()
    stack.restart(stack.ns)
    w.send(d, g, data=b"after")
    stack.events.wait(d.dev_eui, "up", 7)
    assert len(stack.events.of(d.dev_eui, "join")) == 1
    w.close()


def test_the_app_servers_disk_is_full(stack):
    """A downlink command that cannot be written is not acknowledged to the broker, and nothing is done with it: it goes on when there
    is room, or comes again after a crash, once."""
    w = World(stack)
    g, d = w.gateway(), w.device()
    w.join(d, g)
    mqtt = lw.Mqtt(stack.mosquitto.port)

    def command(data):
        mqtt.publish(f"application/{w.app}/device/{d.dev_eui}/command/down", json.dumps({
            "devEui": d.dev_eui, "fPort": 7, "data": base64.b64encode(data).decode()}))

    def queued():
        return [base64.b64decode(i["data"]) for i in w.queue(d)]

    def fails(data):
        """Taken, and not written."""
        stack.app_disk.fill("/commands")
        n = stack.app.output().count("downlink commands cannot be written")
        command(data)
        lw.wait_for(lambda: stack.app.output().count("downlink commands cannot be written") > n, text="the error")

    fails(b"one")
    w.enqueue(d, b"zero")  # would be behind it
    assert queued() == [b"zero"]
    stack.app.kill()
    stack.app_disk.free()
    stack.restart(stack.app)
    lw.wait_for(lambda: queued() == [b"zero", b"one"], text="the command that the broker still has")
    fails(b"two")
    stack.app_disk.free()
    lw.wait_for(lambda: queued() == [b"zero", b"one", b"two"], text="the command that waited")
    command(b"three")
    lw.wait_for(lambda: queued() == [b"zero", b"one", b"two", b"three"], text="one after it")
    mqtt.close()
    w.close()


@pytest.mark.parametrize("name", ["ns", "app", "bridge"])
def test_a_state_folder_that_cannot_be_written(stack, name):
    """It says which folder, and ends or goes on; when the folder is right again it starts as if nothing had been."""
    d = getattr(stack, name)
    folder = Path(d.config_path.read_text().split('"state_dir": "')[1].split('"')[0])
    d.stop()
    aside = folder.with_name(folder.name + "-aside")
    folder.rename(aside)
    folder.write_text("")  # root may write into any folder, but not into a file
    try:
        d.start(wait=False)
        lw.wait_for(lambda: str(folder) in d.output() or "state_dir" in d.output(), 20, text="an error that names the folder")
        d.kill()
    finally:
        folder.unlink()
        aside.rename(folder)
    d.start(wait=False)
    lw.wait_for(lambda: stack.healthy(d), 20, text=f"health of {d.name}")


@pytest.mark.parametrize("part", ["spool.db-wal", "spool.db"])
def test_a_spool_that_was_cut(stack, part):
    """The bridge's spool, cut in the middle while it was dead: it starts, serves, and says what it could not read."""
    w = World(stack)
    g, d = w.gateway(), w.device()
    w.join(d, g)
    w.send(d, g, data=b"0")
    stack.events.wait(d.dev_eui, "up")
    stack.mosquitto.stop()
    spooled = stack.bridge.metrics()["longwave_gb_spooled_total"]
    for i in range(1, 9):
        w.send(d, g, data=b"%d" % i)
    lw.wait_for(lambda: stack.bridge.metrics()["longwave_gb_spooled_total"] >= spooled + 8, 20, text="uplinks in the spool")
    if part == "spool.db":
        stack.bridge.stop()  # so that the log is in the file
    stack.bridge.kill()
    file = next((stack.tmp / "bridge-state").rglob(part))
    os.truncate(file, file.stat().st_size * 2 // 3)
    pulled = g.pulled
    stack.bridge.start(wait=False)
    stack.mosquitto.start()
    stack.wait_healthy(30)
    g.wait_pulled(after=pulled)
    stack.events.reconnected()
    w.send(d, g, data=b"after")
    lw.wait_for(lambda: any(b'"YWZ0ZXI="' in e.raw.replace(b" ", b"") for e in stack.events.of(d.dev_eui, "up")), 30, text="the uplink after it")
    w.close()
