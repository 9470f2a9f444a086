"""./longwave test: installs, builds, runs every kind of test and counts. Ends with one line: N passed, N failed."""

import os
import re
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from pathlib import Path

import build
from machine import ROOT, Failed, end, install, say, start

REPORTS = ROOT / "build" / "reports"
FUZZ_SECONDS = 4
FAULT_SECONDS = 20
PYTEST_SECONDS = 2400  # of each part, which takes 2 minutes on two idle cores
KILLS_SECONDS = 600
PROGRESS_SECONDS = 60
PYTEST = ["/usr/bin/python3", "-m", "pytest", "-p", "no:cacheprovider", "--durations=10", "-o", "junit_family=xunit1"]
OUT_OF_TIME = 1000  # no program's exit code
# Parts of the e2e suite that take about as long as all the rest, which needs no name here.
E2E_PARTS = {
    "deaths": ["test_faults.py", "test_backup.py", "bridge"],
    "integration": ["test_http_integration.py", "test_multicast.py"],
    "replicas": ["test_replicas.py"],
}


class Count:
    def __init__(self):
        self.passed = self.failed = 0
        self.failures = []

    def add(self, passed, failed, names=()):
        self.passed += passed
        self.failed += failed
        self.failures += names


def _call(argv, cwd=ROOT, env=None, timeout=1800):
    """Runs with the output shown as it comes; returns the exit code."""
    proc = start(argv, cwd=cwd, env=env)
    try:
        return proc.wait(timeout=timeout)
    except subprocess.TimeoutExpired:
        print(f"longwave: out of time after {timeout} s: {' '.join(argv)}", flush=True)
        return OUT_OF_TIME
    finally:
        end(proc)


def _ending(code):
    if code == OUT_OF_TIME:
        return "out of time"
    return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"


def _junit(path, count, code, what, where=""):
    """Adds a JUnit report. A run that failed without naming a failed test is itself one failure. `where`: what it was at."""
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
        count.add(0, 1, [f"{what}: {_ending(code)}{where}; no report: {e}"])
        return
    count.add(passed, 0)
    if passed + named == 0:
        count.add(0, 1, [f"{what}: ran no test"])
    elif code and not named:
        count.add(0, 1, [f"{what}: {_ending(code)}{where}"])


def _ctest(count, label):
    out = build.cmake("asan")
    report = REPORTS / f"{label}.xml"
    report.unlink(missing_ok=True)
    code = _call(["ctest", "--test-dir", str(out), "-L", f"^{label}$", "--output-on-failure", "-j", str(os.cpu_count() or 2),
                  "--timeout", "300", "--output-junit", str(report)])
    _junit(report, count, code, label)


def _show(report, name):
    """What a passed test has to say: a table."""
    try:
        said = next((c.findtext("system-out") or "" for c in ET.parse(report).getroot().iter("testcase") if c.get("name") == name), "")
    except (OSError, ET.ParseError):
        return
    print("\n".join(line for line in said.splitlines() if not line.startswith("[")), flush=True)


def unit(count):
    _ctest(count, "unit")
    _show(REPORTS / "unit.xml", "unit.network-server.domain.test_planner_delivery")


def scenario(count):
    _ctest(count, "scenario")


def lint(count):
    for name, argv in (("include directions", ["/usr/bin/python3", "tools/check_includes.py"]),
                       ("format", ["/usr/bin/python3", "tools/check_format.py"]),
                       ("conformance", ["/usr/bin/python3", "tools/conformance.py", "--check"])):
        code = _call(argv)
        count.add(int(code == 0), int(code != 0), [f"lint: {name}"] if code else [])


class _Aside:
    """A program whose output goes to a file until it ends."""

    def __init__(self, name, argv, env=None, timeout=1800):
        self.name, self.timeout, self.began = name, timeout, time.monotonic()
        self.path = REPORTS / f"{name.replace(' ', '-')}.txt"
        with open(self.path, "wb") as f:
            self.proc = start(argv, cwd=ROOT, env=env, stdout=f, stderr=subprocess.STDOUT)

    def text(self):
        return self.path.read_text(errors="replace")


def _side_by_side(jobs, ended, at_once, news=lambda running: None):
    """Starts all (jobs are functions that return an _Aside), `at_once` at a time; calls ended(job, exit code) for each, and news()
    again and again."""
    waiting, running = list(jobs), []
    try:
        while waiting or running:
            while waiting and len(running) < at_once:
                running.append(waiting.pop(0)())
            time.sleep(0.3)
            news(running)
            for job in list(running):
                code = job.proc.poll()
                if code is None and time.monotonic() - job.began > job.timeout:
                    code = OUT_OF_TIME
                if code is not None:
                    end(job.proc)
                    running.remove(job)
                    ended(job, code)
    finally:
        end(*(job.proc for job in running))


def fuzz(count):
    """A short run of every target over its corpus; longer by hand: ./longwave fuzz TARGET SECONDS."""
    out = build.cmake("fuzz", "fuzzers")
    targets = sorted(p for p in (out / "bin").glob("fuzz_*") if p.is_file() and os.access(p, os.X_OK))
    if not targets:
        count.add(0, 1, ["fuzz: no target was built"])

    def job(target):
        corpus = ROOT / "tests/fuzz/corpus" / target.name.removeprefix("fuzz_")
        work = out / "corpus" / target.name
        work.mkdir(parents=True, exist_ok=True)
        return _Aside(target.name, [target, f"-max_total_time={FUZZ_SECONDS}", "-timeout=10", "-rss_limit_mb=1024",
                                    f"-artifact_prefix={REPORTS}/", work, *([corpus] if corpus.exists() else [])])

    def ended(job, code):
        if code:
            print(job.text()[-6000:])
        print(f"fuzz {job.name}: {'ok' if code == 0 else 'FAILED: ' + _ending(code)}", flush=True)
        count.add(int(code == 0), int(code != 0), [job.name] if code else [])

    _side_by_side([lambda t=t: job(t) for t in targets], ended, os.cpu_count() or 2)


class _Pytest(_Aside):
    """A part of the suite against the running daemons."""

    DONE = re.compile(r"^(\S+::.*) (PASSED|FAILED|ERROR|SKIPPED) +\[ *(\d+)%\]$", re.M)

    def __init__(self, name, env, *which):
        self.xml = REPORTS / f"{name.replace(' ', '-')}.xml"
        self.xml.unlink(missing_ok=True)
        env = dict(env, PYTHONUNBUFFERED="1", COLUMNS="120")
        super().__init__(name, [*PYTEST, "-v", "--color=no", f"--junitxml={self.xml}", *which], env, PYTEST_SECONDS)
        self.percent, self.told = "0", 0

    def news(self):
        """Notes how far it is, and names each test that failed when it does."""
        done = self.DONE.findall(self.text())
        for name, how, self.percent in done[self.told:]:
            if how not in ("PASSED", "SKIPPED"):
                say(f"{self.name}: {name} {how}")
        self.told = len(done)

    def how_far(self):
        return f"{self.name} {self.percent} %"

    def last_test(self):
        return ([line.split(" ")[0] for line in self.text().splitlines() if "::" in line] or ["its first test"])[-1]

    def closing(self):
        """What pytest says after the last test; of one that died, its last words."""
        text = self.text()
        found = re.search(r"^=+ (ERRORS|FAILURES|warnings summary|slowest .*|\d+ passed.*) =+$", text, re.M)
        return text[found.start():] if found else "\n".join(text.splitlines()[-20:])

    def add_to(self, count, code):
        _junit(self.xml, count, code, self.name, f" in {self.last_test()}")


class _Kills(_Aside):
    """kill -9 under traffic for a while, on one database."""

    def __init__(self, store, env):
        import faults as fault_test
        super().__init__(f"faults {store}", fault_test.command(FAULT_SECONDS, store), env, KILLS_SECONDS)

    def news(self):
        pass

    def how_far(self):
        return self.name

    closing = _Aside.text

    def add_to(self, count, code):
        count.add(int(code == 0), int(code != 0), [f"{self.name}: {_ending(code)}"] if code else [])


def _environment(out, **more):
    return dict(os.environ, LONGWAVE_BUILD=str(out), PYTHONDONTWRITEBYTECODE="1", **more)


def _e2e_jobs(out):
    """The suite on PostgreSQL and on SQLite, each in parts, the longest first."""
    named = [[f"tests/e2e/{name}" for name in part] for part in E2E_PARTS.values()]
    rest = ["tests/e2e", *(f"--ignore={path}" for part in named for path in part)]
    stores = {s: _environment(out, LONGWAVE_STORE=s) for s in ("postgres", "sqlite")}
    return [lambda n=n, s=s, w=w: _Pytest(f"e2e {s} {n}", stores[s], *w)
            for n, w in zip(("rest", *E2E_PARTS), (rest, *named)) for s in stores]


def _fault_jobs(out):
    """Short forms: kill -9 under traffic on both databases, then the moments between two writes, and a loss of power."""
    env = _environment(out)
    return [lambda: _Pytest("faults", env, "tests/faults"), *(lambda s=s: _Kills(s, env) for s in ("sqlite", "postgres"))]


def _patient(count, kinds):
    """The kinds that run the daemons and mostly wait for them: on two cores all of it computes for a sixth of its time. Hence side by
    side; each job has processes, ports (tests/e2e/lw/procs.py) and folders of its own."""
    out = build.cmake("release")
    if "e2e" in kinds:
        build.ui(out)
    jobs = [job for k in kinds for job in {"e2e": _e2e_jobs, "faults": _fault_jobs}[k](out)]
    told = began = time.monotonic()

    def news(running):
        nonlocal told
        now = time.monotonic()
        for j in running:
            j.news()
        if running and now - told >= PROGRESS_SECONDS:
            told = now
            say(f"{now - began:.0f} s: " + ", ".join(j.how_far() for j in running))

    def ended(job, code):
        say(f"{job.name} took {time.monotonic() - job.began:.0f} s; whole output: {job.path.relative_to(ROOT)}")
        print(job.closing().rstrip(), flush=True)
        job.add_to(count, code)

    _side_by_side(jobs, ended, 2 * (os.cpu_count() or 1), news)


def e2e(count):
    _patient(count, ["e2e"])


def faults(count):
    _patient(count, ["faults"])


def e2e_and_faults(count):
    _patient(count, ["e2e", "faults"])


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
    if {"e2e", "faults"} <= set(kinds):
        kinds = ["e2e and faults" if k == "e2e" else k for k in kinds if k != "faults"]
    install("build", "run", "test")
    REPORTS.mkdir(parents=True, exist_ok=True)
    count, took = Count(), {}
    for k in kinds:
        say(f"test: {k}")
        began = time.monotonic()
        try:
            (e2e_and_faults if k == "e2e and faults" else KINDS[k])(count)
        except Failed as e:
            print(e, flush=True)
            count.add(0, 1, [f"{k}: {str(e).splitlines()[-1]}"])
        except KeyboardInterrupt:
            say(f"test: stopped in {k}, after {time.monotonic() - began:.0f} s")
            raise
        took[k] = time.monotonic() - began
        say(f"test: {k} took {took[k]:.0f} s")
    if len(took) > 1:
        say(f"test: all took {sum(took.values()) / 60:.1f} min: " + ", ".join(f"{k} {t:.0f} s" for k, t in took.items()))
    for name in count.failures:
        print(f"failed: {re.sub(r' +', ' ', name)}")
    sys.stdout.flush()
    print(f"{count.passed} passed, {count.failed} failed", flush=True)
    return 1 if count.failed or not count.passed else 0
