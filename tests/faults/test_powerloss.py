"""A loss of power under traffic, again and again: what is not synced is gone, and the books must balance all the same."""

import os
import random
import time
from types import SimpleNamespace

import pytest

import lw
import report
from field import Field
from lw.stack import Stack, World
from power import Box

CUTS = 4
PATIENCE_S = 30


def lose_power(tmp, cuts, seed, dsn="", patience=PATIENCE_S, **config):
    """Returns (report, box) of a run."""
    os.environ["LONGWAVE_STORE"] = "sqlite"
    for name, schema in (("network-server", "ns"), ("app-server", "app")):
        if dsn:
            config.setdefault(name, {})["database"] = {"dsn": f"sqlite://{tmp}/{schema}.db{dsn}"}
    stack = Stack(tmp, start=False, **config)
    rng, field, r, kills = random.Random(seed), None, report.Report(), []
    box = Box(stack, tmp)
    try:
        stack.start()
        field = Field(World(stack), seed, class_a=12, class_c=4, joiners=8)
        field.start(2.5 * cuts)
        for _ in range(cuts):
            time.sleep(rng.uniform(1, 2.5))
            kills.append(SimpleNamespace(name="gateway-bridge", at=time.monotonic()))
            box.fail()
            box.start()
            stack.wait_healthy(60)
        field.stop()
        left = field.settle(patience)
        r.row("power lost", box.cuts)
        r.row("files cut back or undone", box.files)
        r.row("bytes that were never synced", box.bytes)
        report.stuck(r, stack, 10)
        report.drops(r, stack)
        report.uplinks(r, field, kills)
        report.joins(r, field)
        report.downlinks(r, field, {i for ids in field.queued().values() for i in ids})
        if left:
            r.failures.append(f"still waiting for: {left}")
        return r, box
    except AssertionError:
        for name, text in stack.logs(15):
            print(f"--- last words of {name}\n{text}")
        raise
    finally:
        if field:
            field.close()
        stack.close()


def test_power(tmp_path):
    """With the defaults."""
    r, box = lose_power(tmp_path, CUTS, int.from_bytes(os.urandom(3), "big"))
    print(r.text())
    assert box.cuts == CUTS
    assert not r.failures, r.text()


def test_the_cut_cuts(tmp_path):
    """The library's own test: where nothing waits for the disk, a loss of power is seen (frames lost, counters used again, or not
    even a login that still holds)."""
    with pytest.raises(AssertionError) as seen:
        r, _ = lose_power(tmp_path, 2, 1, "?sync=normal", patience=5, **{"network-server": {"journal": {"sync": False}}})
        assert not r.failures, r.text()
    print(seen.value)
