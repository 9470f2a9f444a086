"""./longwave bench: what one machine carries, with everything on it: simulator, broker, stores, four daemons.

Release build with LTO; private stacks as `./longwave up` starts them, with the durable defaults (MQTT QoS 1, journal, commits
synced). Each line of the table is one module in tools/cli/benches; the method is printed before each runs. CPU is user and system
time of the processes from /proc, memory is resident memory, counters come from the daemons' own /metrics, and the broker is measured
alone in the same run. Machines are shared and noisy: quote ratios and CPU time, not rates of different machines.
"""

import argparse
import fcntl
import json
import os
import subprocess
import tempfile
import time
import traceback
from pathlib import Path

import benches
import build
from benches._context import Context, plain
from machine import ROOT, Failed, install, say

DOC, MARKS = ROOT / "docs" / "performance.md", ("<!-- table: ./longwave bench --doc -->", "<!-- end of table -->")
TARGETS = [*[f"longwave-{d}" for d in build.DAEMONS], "longwave-sim", "longwave-broker-ceiling"]


def parse(args):
    p = argparse.ArgumentParser(prog="./longwave bench", description="What one machine carries.")
    p.add_argument("names", nargs="*", metavar="NAME", help="which ones (a set that takes some minutes)")
    p.add_argument("--list", action="store_true", help="what there is, then end")
    p.add_argument("--all", action="store_true", help="also the long ones")
    p.add_argument("--table", action="store_true", help="print the table of build/bench.json again, measure nothing")
    p.add_argument("--doc", action="store_true", help="put the table into docs/performance.md, too")
    p.add_argument("--devices", type=int, default=3000, help="devices of the shared network (3000)")
    p.add_argument("--seconds", type=int, default=10, help="length of a step (10)")
    p.add_argument("--offset", type=int, default=21000, metavar="N", help="added to every port (21000)")
    p.add_argument("--build-dir", help="a build of preset bench; not built again")
    p.add_argument("--json", default=str(ROOT / "build" / "bench.json"), metavar="FILE", help="results (build/bench.json)")
    p.add_argument("--keep", action="store_true", help="keep the state folders (logs, databases)")
    for name in benches.names():
        module = benches.load(name)
        if hasattr(module, "add_options"):
            module.add_options(p.add_argument_group(name))
    return p.parse_args(args)


def number(v):
    if v is None:
        return "–"
    if isinstance(v, str):
        return v
    if abs(v) >= 100:
        return f"{v:,.0f}"
    return f"{v:.1f}" if abs(v) >= 10 else f"{v:.2g}" if abs(v) < 1 else f"{v:.2f}".rstrip("0").rstrip(".")


def verdict(row, r):
    value = r["value"]
    if not isinstance(value, (int, float)):
        return ""
    least = row.least if r["least"] is None else r["least"]
    aim = row.aim if r["aim"] is None else r["aim"]

    def holds(target):
        return target is not None and (value >= target if row.more else value <= target)
    return "aim" if holds(aim) else "at least" if holds(least) else "" if least is None and aim is None else r.get("reached") or "BELOW"


def table(rows, doc=None):
    """Markdown, as docs/performance.md has it."""
    lines = ["| measured by `./longwave bench`, everything on this machine | reference | at least | aim | measured | reached | `./longwave bench` |",
             "|---|---|---|---|---|---|---|"]
    for r in rows:
        unit = f" {r['unit']}" if r["unit"] else ""

        def cell(v, unit=unit):
            return "–" if v is None else number(v) + ("" if isinstance(v, str) else unit)
        note = f" ({r['note']})" if r["note"] else ""
        lines.append(f"| {r['what']} | {r['reference']} | {cell(r['least'])} | {cell(r['aim'])} | {cell(r['value'])}{note} | {r['reached']} "
                     f"| `{r['bench']}` |")
    print("\n" + "\n".join(lines) + "\n", flush=True)
    if doc:
        text = DOC.read_text()
        begin, end = text.index(MARKS[0]) + len(MARKS[0]), text.index(MARKS[1])
        DOC.write_text(text[:begin] + "\n" + doc + "\n\n" + "\n".join(lines) + "\n" + text[end:])
        say(f"{DOC.relative_to(ROOT)} has this table now")


def origin(doc, rows):
    """One line: when, which commits, where."""
    commits = ", ".join(dict.fromkeys(r["commit"] for r in rows))
    first, last = min(r["at"] for r in rows)[:16], max(r["at"] for r in rows)[:16]
    return f"Measured {first}Z" + (f" to {last}Z" if last != first else "") + f", commit {commits}, {doc['machine']}."


def load_json(path):
    try:
        return json.loads(Path(path).read_text())
    except (OSError, ValueError):
        return {}


def git(*args):
    return subprocess.run(["git", *args], cwd=ROOT, capture_output=True, text=True).stdout.strip()


def cpu_model():
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return "unknown"


def steal_s():
    """Time that the hypervisor gave to others, seconds since boot, all cores."""
    return int(Path("/proc/stat").read_text().split("\n", 1)[0].split()[8]) / os.sysconf("SC_CLK_TCK")


def run_one(name, ctx, when):
    module = benches.load(name)
    print(f"\n== {name}: {module.TITLE}", flush=True)
    ctx.data, ctx.results = {}, {}
    began, load, stolen, error = time.monotonic(), os.getloadavg()[0], steal_s(), None
    try:
        module.run(ctx)
    except KeyboardInterrupt:
        raise
    except (Failed, Exception) as e:  # noqa: BLE001 - one bench that fails does not end the others
        error = str(e) or type(e).__name__
        if not isinstance(e, Failed):
            traceback.print_exc()
        print(f"  FAILED: {error}", flush=True)
    seconds = time.monotonic() - began
    rows = []
    for row in module.ROWS:
        r = ctx.results.get(row.key, {"value": None, "note": error or "", "least": None, "aim": None})
        rows.append({"bench": name, "key": row.key, "what": row.what, "unit": row.unit, "reference": row.reference,
                     "least": row.least if r["least"] is None else r["least"], "aim": row.aim if r["aim"] is None else r["aim"],
                     "value": r["value"], "note": r["note"], "reached": "FAILED" if error and r["value"] is None else verdict(row, r),
                     **when})
        print(f"  {row.what}: {number(r['value'])} {row.unit} {'(' + r['note'] + ')' if r['note'] else ''} "
              f"{rows[-1]['reached']}", flush=True)
    print(f"  took {seconds:.0f} s; load before {load:.1f}, stolen by the host {steal_s() - stolen:.1f} s", flush=True)
    return {"seconds": seconds, "error": error, "load": load, **when, "data": plain(ctx.data), "rows": rows}


def locked():
    """Two benchmarks at once would measure each other."""
    f = open(Path(tempfile.gettempdir()) / "longwave-bench.lock", "w")
    try:
        fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        say("another benchmark is running; waiting for it")
        fcntl.flock(f, fcntl.LOCK_EX)
    return f


def main(_verb, args):
    opt = parse(args)
    known = benches.names()
    if opt.list:
        for name in known:
            module = benches.load(name)
            print(f"  {name:10s} {'*' if module.DEFAULT else ' '} {module.TITLE.splitlines()[0]}")
        print("\n* without names")
        return 0
    if opt.table:
        doc = load_json(opt.json)
        done = doc.get("benches", {})
        rows = [r for n in known if n in done for r in done[n]["rows"]]
        table(rows, origin(doc, rows) if opt.doc else None)
        return 0
    wrong = [n for n in opt.names if n not in known]
    if wrong:
        raise Failed(f"no benchmark {wrong[0]!r}; there are: {', '.join(known)}")
    # In their own order, whatever the order of the words: what is small first shows nothing of what was large.
    chosen = [n for n in known if n in opt.names] or [n for n in known if opt.all or benches.load(n).DEFAULT]
    if opt.build_dir:
        out = Path(opt.build_dir).resolve()
    else:
        install("build", "run", "test")
        out = build.cmake("bench", *TARGETS, *[t for n in chosen for t in getattr(benches.load(n), "TARGETS", [])])
    lock = locked()
    when = {"commit": git("rev-parse", "--short", "HEAD"), "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}
    machine = f"{os.cpu_count()} cores, {cpu_model()}, Linux {os.uname().release}"
    print(__doc__)
    print(f"{machine}; commit {when['commit']}; load {os.getloadavg()[0]:.1f}")
    ctx = Context(out, opt)
    kept = load_json(opt.json)
    doc = {"machine": machine, "ceilings": kept.get("ceilings", {}), "benches": kept.get("benches", {})}
    ran = []
    try:
        for name in chosen:
            doc["benches"][name] = run_one(name, ctx, when)
            doc["ceilings"].update(ctx.ceilings)
            ran.append(name)
            Path(opt.json).parent.mkdir(parents=True, exist_ok=True)
            Path(opt.json).write_text(json.dumps(doc, indent=1))
    finally:
        ctx.close()
        lock.close()
    rows = [r for n in ran for r in doc["benches"][n]["rows"]]
    table(rows, origin(doc, rows) if opt.doc else None)
    print(f"all figures: {opt.json}")
    return 1 if any(doc["benches"][n]["error"] for n in ran) else 0
