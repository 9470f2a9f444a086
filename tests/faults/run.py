"""The fault test: traffic, kill -9 at random moments, a rough network between gateways and bridge; then peace, and the books
must balance. Usage: run.py [--seconds N] [--seed N] [--store sqlite|postgres] [--replicas N] [--keep]; binaries: $LONGWAVE_BUILD."""

import argparse
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "e2e")]

PATIENCE_S = 30
WEBHOOK_PATIENCE_S = 75  # longer than its longest back-off
STUCK_PATIENCE_S = 60  # a try for class C that failed in the last faults waits in its flow for the next one: 5, 10, 20, 40 s


def parse():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--seconds", type=float, default=40)
    p.add_argument("--seed", type=int, default=None)
    p.add_argument("--store", choices=("sqlite", "postgres"), default="sqlite")
    p.add_argument("--replicas", type=int, default=1)
    p.add_argument("--keep", action="store_true", help="leave the folder with databases and logs")
    return p.parse_args()


def say(text):
    print(text, flush=True)


def start_receiver(world, tmp):
    """The webhook and its receiver; None where this build has no HTTP integration, and it says so."""
    from lw.procs import Process, free_port

    class Receiver(Process):
        def start(self):
            super().start()
            self.wait_output("^ready")

    port = free_port()
    file = tmp / "webhook.jsonl"
    file.touch()
    status, answer = world.rest.request("POST", f"/api/applications/{world.app}/integrations/http", {"integration": {
        "headers": {}, "encoding": "JSON", "eventEndpointUrl": f"http://127.0.0.1:{port}/hook"}})
    if status != 200:
        say(f"no HTTP integration in this build ({status} {answer}): only MQTT is watched")
        return None
    r = Receiver([sys.executable, HERE / "receiver.py", port, file], tmp / "receiver.log")
    r.file = file
    r.start()
    return r


def run(opt, tmp):
    import report
    from field import Field
    from killer import Killer
    from lw.stack import Stack, World

    seed = opt.seed if opt.seed is not None else int.from_bytes(os.urandom(3), "big")
    say(f"fault test: {opt.store}, {opt.replicas} replica(s), {opt.seconds:g} s, --seed {seed}")
    stack = Stack(tmp, **({"replicas": opt.replicas} if opt.replicas > 1 else {}))
    field = receiver = None
    r = report.Report()
    try:
        world = World(stack)
        receiver = start_receiver(world, tmp)
        field = Field(world, seed)
        killer = Killer(stack, receiver, seed, say)
        field.air.rough = True
        field.start(opt.seconds)
        killer.run(opt.seconds)
        field.stop()
        field.air.rough = False
        left = field.settle(PATIENCE_S)
        if left:
            say(f"still waiting for: {left}")
        report.wait_webhook(field, receiver, WEBHOOK_PATIENCE_S)
        report.stuck(r, stack, STUCK_PATIENCE_S)
        for name, n in sorted({k.name: sum(x.name == k.name for x in killer.kills) for k in killer.kills}.items()):
            r.row(f"kill -9 {name}", n)
        for name, n in sorted(field.air.done.items()):
            r.row(f"datagrams {name}", n)
        report.drops(r, stack, killer.drops)
        report.uplinks(r, field, killer.kills)
        report.joins(r, field)
        report.downlinks(r, field, {i for ids in field.queued().values() for i in ids})
        report.webhook(r, field, receiver, killer.kills, stack)
    except BaseException:
        for name, text in stack.logs(15):
            say(f"--- last words of {name}\n{text}")
        raise
    finally:
        if field:
            field.close()
        if receiver:
            receiver.kill()
        stack.close()
    say(r.text())
    for f in r.failures:
        say(f"FAILED: {f}")
    say(f"fault test, {opt.store}, {opt.replicas} replica(s), seed {seed}: {'FAILED' if r.failures else 'passed'}")
    return 1 if r.failures else 0


def main():
    opt = parse()
    os.environ["LONGWAVE_STORE"] = opt.store
    tmp = Path(tempfile.mkdtemp(prefix="lw-faults-"))
    began = time.monotonic()
    try:
        return run(opt, tmp)
    finally:
        say(f"took {time.monotonic() - began:.0f} s" + (f"; kept: {tmp}" if opt.keep else ""))
        if not opt.keep:
            shutil.rmtree(tmp, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
