"""./longwave test: installs, builds, runs every kind of test and counts. Ends with one line: N passed, N failed."""

import os
import re
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from pathlib import Path

import build
from machine import ROOT, Failed, install, say

REPORTS = ROOT / "build" / "reports"
FUZZ_SECONDS = 4
FAULT_SECONDS = 20


class Count:
    def __init__(self):
        self.passed = self.failed = 0
        self.failures = []

    def add(self, passed, failed, names=()):
        self.passed += passed
        self.failed += failed
        self.failures += names


def _call(argv, cwd=ROOT, env=None, timeout=1800):
    """Runs with the output shown as it comes; returns the exit code (124: out of time)."""
    proc = subprocess.Popen(argv, cwd=cwd, env=env, stdin=subprocess.DEVNULL)
    try:
        return proc.wait(timeout=timeout)
    except subprocess.TimeoutExpired:
        proc.kill()
        proc.wait()
        print(f"longwave: out of time after {timeout} s: {' '.join(argv)}", flush=True)
        return 124
    except BaseException:
        proc.terminate()
        raise


def _junit(path, count, code, what):
    """Adds a JUnit report. A run that failed without naming a failed test is itself one failure."""
    named = passed = 0
    try:
        for case in ET.parse(path).getroot().iter("testcase"):
            bad = case.find("failure") is not None or case.find("error") is not None
            skipped = case.find("skipped") is not None
            if bad or skipped or case.get("status") in ("fail", "notrun", "disabled"):
                named += 1
                word = " (skipped)" if skipped else ""
                count.add(0, 1, [f"{what}: {case.get('classname') or ''} {case.get('name')}{word}"])
            else:
                # A cmocka program says how many tests are in it.
                inner = re.search(r"\[  PASSED  \] (\d+) test", case.findtext("system-out") or "")
                passed += int(inner.group(1)) if inner else 1
    except (OSError, ET.ParseError) as e:
        count.add(0, 1, [f"{what}: no report: {e}"])
        return
    count.add(passed, 0)
    if passed + named == 0:
        count.add(0, 1, [f"{what}: ran no test"])
    elif code and not named:
        count.add(0, 1, [f"{what}: exit code {code}"])


def _ctest(count, label):
    out = build.cmake("asan")
    report = REPORTS / f"{label}.xml"
    report.unlink(missing_ok=True)
    code = _call(["ctest", "--test-dir", str(out), "-L", f"^{label}$", "--output-on-failure", "-j", str(os.cpu_count() or 2),
                  "--timeout", "300", "--output-junit", str(report)])
    _junit(report, count, code, label)


def unit(count):
    _ctest(count, "unit")


def scenario(count):
    _ctest(count, "scenario")


def lint(count):
    for name, argv in (("include directions", ["/usr/bin/python3", "tools/check_includes.py"]),
                       ("format", ["/usr/bin/python3", "tools/check_format.py"]),
                       ("conformance", ["/usr/bin/python3", "tools/conformance.py", "--check"])):
        code = _call(argv)
        count.add(int(code == 0), int(code != 0), [f"lint: {name}"] if code else [])


def fuzz(count):
    """A short run of every target over its corpus; longer by hand: ./longwave fuzz TARGET SECONDS."""
    out = build.cmake("fuzz", "fuzzers")
    targets = sorted(p for p in (out / "bin").glob("fuzz_*") if p.is_file() and os.access(p, os.X_OK))
    if not targets:
        count.add(0, 1, ["fuzz: no target was built"])
    for t in targets:
        corpus = ROOT / "tests/fuzz/corpus" / t.name.removeprefix("fuzz_")
        work = out / "corpus" / t.name
        work.mkdir(parents=True, exist_ok=True)
        log = REPORTS / f"{t.name}.txt"
        with open(log, "wb") as f:
            proc = subprocess.run([str(t), f"-max_total_time={FUZZ_SECONDS}", "-timeout=10", "-rss_limit_mb=1024",
                                   f"-artifact_prefix={REPORTS}/", str(work), *([str(corpus)] if corpus.exists() else [])],
                                  stdout=f, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
        if proc.returncode:
            print(log.read_text(errors="replace")[-6000:])
        print(f"fuzz {t.name}: {'ok' if proc.returncode == 0 else 'FAILED'}", flush=True)
        count.add(int(proc.returncode == 0), int(proc.returncode != 0), [t.name] if proc.returncode else [])


def e2e(count):
    """The suite against the running daemons: once on SQLite, once on PostgreSQL."""
    out = build.cmake("release")
    build.ui(out)
    for store in ("sqlite", "postgres"):
        report = REPORTS / f"e2e-{store}.xml"
        report.unlink(missing_ok=True)
        env = dict(os.environ, LONGWAVE_BUILD=str(out), LONGWAVE_STORE=store, PYTHONDONTWRITEBYTECODE="1")
        code = _call(["/usr/bin/python3", "-m", "pytest", "-q", "-p", "no:cacheprovider", "--durations=5", "tests/e2e",
                      f"--junitxml={report}", "-o", "junit_family=xunit1"], env=env)
        _junit(report, count, code, f"e2e {store}")


def faults(count):
    """Short forms: kill -9 under traffic on both databases, then the moments between two writes, and a loss of power."""
    import faults as fault_test
    out = build.cmake("release")
    env = dict(os.environ, LONGWAVE_BUILD=str(out), PYTHONDONTWRITEBYTECODE="1")
    for store in ("sqlite", "postgres"):
        code = _call(fault_test.command(FAULT_SECONDS, store), env=env, timeout=300)
        count.add(int(code == 0), int(code != 0), [f"faults: {store}"] if code else [])
    report = REPORTS / "faults.xml"
    report.unlink(missing_ok=True)
    code = _call(["/usr/bin/python3", "-m", "pytest", "-q", "-p", "no:cacheprovider", "--durations=5", "tests/faults",
                  f"--junitxml={report}", "-o", "junit_family=xunit1"], env=env)
    _junit(report, count, code, "faults")


def ui(count):
    out = build.cmake("release")
    if build.ui(out) is None:
        count.add(0, 1, ["ui: there is no web UI"])
        return
    env = dict(os.environ, LONGWAVE_BUILD=str(out))
    for name, argv in (("vitest", ["npm", "run", "--silent", "test:unit"]), ("playwright", ["npm", "run", "--silent", "test:ui"])):
        report = REPORTS / f"ui-{name}.xml"
        report.unlink(missing_ok=True)
        code = _call(argv, cwd=build.UI, env=dict(env, LONGWAVE_REPORT=str(report)))
        _junit(report, count, code, f"ui {name}")


KINDS = {"lint": lint, "unit": unit, "scenario": scenario, "fuzz": fuzz, "e2e": e2e, "faults": faults, "ui": ui}


def main(_verb, args):
    kinds = list(KINDS) if not args or args == ["all"] else args
    for k in kinds:
        if k not in KINDS:
            raise Failed(f"no kind of test {k!r}; there are: {' '.join(KINDS)} all")
    install("build", "run", "test")
    REPORTS.mkdir(parents=True, exist_ok=True)
    count = Count()
    for k in kinds:
        say(f"test: {k}")
        began = time.monotonic()
        try:
            KINDS[k](count)
        except Failed as e:
            print(e, flush=True)
            count.add(0, 1, [f"{k}: {str(e).splitlines()[-1]}"])
        say(f"test: {k} took {time.monotonic() - began:.0f} s")
    for name in count.failures:
        print(f"failed: {re.sub(r' +', ' ', name)}")
    sys.stdout.flush()
    print(f"{count.passed} passed, {count.failed} failed", flush=True)
    return 1 if count.failed or not count.passed else 0
