"""The wall clock of all processes jumps by an hour, forward and back, under traffic: they say so, and nothing is lost, twice, stuck
or declared dead for it."""

import mmap
import os
import struct
import subprocess
import time
from pathlib import Path
from types import SimpleNamespace

import lw
import report
from field import Field
from lw.stack import Stack, World
from run import start_receiver

HERE = Path(__file__).resolve().parent
HOUR_NS = 3600 * 10**9
PATIENCE_S = 30


class Clock:
    """What processes with `env` take for the time."""

    def __init__(self, tmp):
        so, path = Path(tmp) / "clockstep.so", Path(tmp) / "clock"
        subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-o", str(so), str(HERE / "clockstep.c"), "-ldl"],
                       check=True)
        path.write_bytes(bytes(mmap.PAGESIZE))
        self.env = dict(os.environ, LD_PRELOAD=str(so), LW_CLOCK_FILE=str(path))
        with open(path, "r+b") as f:
            self._map = mmap.mmap(f.fileno(), mmap.PAGESIZE)

    def set(self, hours):
        """So many hours from the true time."""
        self._map[:8] = struct.pack("<q", hours * HOUR_NS)


def steps(d):
    return d.metrics().get(next(k for k in d.metrics() if k.endswith("_clock_steps_total")), 0)


def test_the_clock_jumps(tmp_path):
    clock = Clock(tmp_path)
    stack = Stack(tmp_path, start=False, replicas=2)
    field = receiver = None
    r = report.Report()
    try:
        for p in (stack.mosquitto, stack.redis):  # PostgreSQL's clock decides nothing
            p.env = clock.env
            p.kill()
            p.start()
        for d in stack.daemons:
            d.env = clock.env
        stack.start()
        for d in (*stack.nss, *stack.apps):
            lw.wait_for(lambda: "replicas changed" in d.output(), 20, text=f"{d.dir} sees the other one")
        world = World(stack)
        receiver = start_receiver(world, tmp_path)
        field = Field(world, int.from_bytes(os.urandom(3), "big"), class_a=12, class_c=4, joiners=9)
        receiver.kill()
        field.start(9)

        def go_on(hours):
            """Jumps there; all say so, a second's traffic more."""
            before = {d: steps(d) for d in stack.daemons if d.running()}
            clock.set(hours)
            for d, n in before.items():
                lw.wait_for(lambda: steps(d) > n and "the clock was set" in d.output(), 15, step=0.05, text=f"{d.dir} says that the clock was set")
            n = len(field.sent) + 15
            lw.wait_for(lambda: len(field.sent) >= n, 15, text="more uplinks")

        go_on(+1)
        # All leases had ended at once.
        assert not any("is gone" in d.output() for d in (*stack.nss, *stack.apps)), "a replica that lives was declared gone"
        killed = SimpleNamespace(name="network-server 2", at=time.monotonic())
        stack.nss[1].kill()
        go_on(-1)
        # Its lease would have lasted for two hours.
        lw.wait_for(lambda: "a replica is gone" in stack.nss[0].output(), 20, text="the lease of the dead one ends")
        receiver.start()
        stack.nss[1].start(wait=False)
        lw.wait_for(lambda: stack.healthy(stack.nss[1]), 20, text="health of the second network-server")
        go_on(0)
        field.stop()
        left = field.settle(PATIENCE_S)
        report.wait_webhook(field, receiver, PATIENCE_S)
        report.stuck(r, stack, 10)
        report.drops(r, stack)
        report.uplinks(r, field, [killed])
        report.joins(r, field)
        report.downlinks(r, field, {i for ids in field.queued().values() for i in ids})
        report.webhook(r, field, receiver, [killed], stack)
        print(r.text())
        assert not left, f"still waiting for: {left}"
        assert not r.failures, r.text()
    except BaseException:
        for name, text in stack.logs(15):
            print(f"--- last words of {name}\n{text}")
        raise
    finally:
        if field:
            field.close()
        if receiver:
            receiver.kill()
        stack.close()
