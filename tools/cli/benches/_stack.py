"""A private stack to measure: four daemons, broker, Redis, as `./longwave up` starts them, in a folder that is deleted
afterwards; and what /proc and /metrics tell about it. Never decides what a figure means."""

import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

import build
import up
from machine import Failed, say
from provision import Api, provision
from supervisor import Supervisor

TICK = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")
PREFIX = {"network-server": "longwave_ns_", "app-server": "longwave_as_", "gateway-bridge": "longwave_gb_",
          "geo-server": "longwave_geo_"}
SERIES = re.compile(r"^([a-zA-Z_:][a-zA-Z0-9_:]*)(\{.*\})? (\S+)$", re.M)


def cpu_s(pid):
    """User and system time of all threads, seconds (10 ms steps)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def rss_mb(pid):
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE / 1e6


def ctx_switches(pid):
    """Voluntary context switches of all threads: how often the process slept and woke."""
    n = 0
    for task in Path(f"/proc/{pid}/task").glob("*/status"):
        try:
            n += int(re.search(r"^voluntary_ctxt_switches:\s*(\d+)", task.read_text(), re.M)[1])
        except OSError:
            pass
    return n


class Measure:
    """What happened between enter and exit: cpu_s, peak rss_mb, wakes by process; counters by delta()."""

    def __init__(self, stack):
        self.stack = stack

    def __enter__(self):
        s = self.stack
        self.before = {d: s.metrics(d) for d in s.daemons}
        self.redis_before = s.redis_info()
        self.rss_mb = {n: rss_mb(p) for n, p in s.pids.items()}
        self.rss_end_mb = dict(self.rss_mb)
        self._cpu = {n: cpu_s(p) for n, p in s.pids.items()}
        self._wakes = {n: ctx_switches(p) for n, p in s.pids.items()}
        self._began = time.monotonic()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._thread.start()
        return self

    def _sample(self):
        while not self._stop.wait(0.25):
            for n, p in self.stack.pids.items():
                try:
                    now = rss_mb(p)
                except (OSError, IndexError):
                    continue  # it was ended by the bench itself
                self.rss_end_mb[n] = now
                self.rss_mb[n] = max(self.rss_mb[n], now)

    def __exit__(self, *exc):
        self.seconds = time.monotonic() - self._began
        self._stop.set()
        self._thread.join()
        s = self.stack
        if exc[0]:
            return False
        self.cpu_s = {n: cpu_s(p) - self._cpu[n] for n, p in s.pids.items()}
        self.wakes = {n: ctx_switches(p) - self._wakes[n] for n, p in s.pids.items()}
        self.after = {d: s.metrics(d) for d in s.daemons}
        self.redis_after = s.redis_info()
        return False

    def delta(self, daemon, name):
        """Growth of a counter (all its series together); None when the daemon has no such counter."""
        full = PREFIX[daemon] + name
        if full not in {k[0] for k in self.after[daemon]}:
            return None
        return sum(v - self.before[daemon].get(k, 0.0) for k, v in self.after[daemon].items() if k[0] == full)

    def series(self, daemon, name):
        """The same by label text, for example {'{reason="LATE"}': 12.0}; only what grew."""
        full = PREFIX[daemon] + name
        grown = {k[1]: v - self.before[daemon].get(k, 0.0) for k, v in self.after[daemon].items() if k[0] == full}
        return {k: v for k, v in grown.items() if v}

    def redis(self, name):
        return self.redis_after.get(name, 0) - self.redis_before.get(name, 0)

    def round_trips(self):
        """Waits for a store's answer, as the daemons count them: groups of transactions and reads of the database, commands that
        went to Redis one behind the other."""
        found = {}
        for d in ("network-server", "app-server"):
            for store in ("redis", "sql"):
                n = self.delta(d, f"{store}_round_trips_total")
                if n is not None:
                    found[f"{d} {store}"] = n
        return found


class Stack:
    """settings: {"network-server": {"database.dsn": "…"}} overrides settings through the environment.
    daemons: which ones to start (all four). data: a folder that save_data() wrote, to begin with."""

    def __init__(self, out, offset, settings=None, daemons=None, keep=False, data=None):
        self.out, self.keep = Path(out), keep
        self.ports = {name: port + offset for name, port in up.PORTS.items()}
        listeners = [("eu868", self.ports["udp"])]
        self.state = Path(tempfile.mkdtemp(prefix="longwave-bench-"))
        self.sup = Supervisor(say)
        try:
            self.state.chmod(0o711)
            for folder in ("mosquitto", "redis", "log", *build.DAEMONS):
                (self.state / folder).mkdir()
            if os.geteuid() == 0:
                shutil.chown(self.state / "mosquitto", "mosquitto")
            if data:
                shutil.copytree(data, self.state, dirs_exist_ok=True)
            up.check_ports(self.ports, listeners, "127.0.0.1")
            self.password, _ = up.first_password(self.state)
            conf = up.write_configs(self.state, self.ports, "127.0.0.1", listeners, None)
            for process in up.processes(self.state, conf, self.out, self.ports, self.password):
                name = process.name.removeprefix("longwave-")
                if name in build.DAEMONS and daemons is not None and name not in daemons:
                    continue
                if settings and name in settings:
                    base = "LONGWAVE_" + name.upper().replace("-", "_") + "__"
                    process.env = dict(process.env or os.environ)
                    for key, value in settings[name].items():
                        process.env[base + key.upper().replace(".", "__")] = str(value)
                self.sup.start(process)
        except BaseException:
            self.stop()
            raise
        # The supervisor's handlers are for a loop that watches; here Ctrl-C ends what is running.
        for sig in (signal.SIGINT, signal.SIGTERM):
            signal.signal(sig, signal.default_int_handler)
        self.started = time.monotonic()

    @property
    def pids(self):
        return {q.name.removeprefix("longwave-"): q.proc.pid for q in self.sup.processes if q.alive()}

    @property
    def daemons(self):
        return [n for n in self.pids if n in build.DAEMONS]

    @property
    def mqtt(self):
        return f"tcp://127.0.0.1:{self.ports['mqtt']}"

    @property
    def udp(self):
        return f"127.0.0.1:{self.ports['udp']}"

    def process(self, name):
        return next(q for q in self.sup.processes if q.name.removeprefix("longwave-") == name)

    def rss(self):
        return {n: rss_mb(self.pids[n]) for n in self.daemons}

    def metrics(self, daemon):
        """{(name, labels): value} of a daemon now; empty when it does not answer."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.ports[daemon]}/metrics", timeout=20) as r:
                text = r.read().decode()
        except OSError:
            return {}
        return {(m[1], m[2] or ""): float(m[3]) for m in SERIES.finditer(text)}

    def redis_info(self):
        text = subprocess.run(["redis-cli", "-p", str(self.ports["redis"]), "info", "all"], capture_output=True, text=True).stdout
        pairs = (line.split(":", 1) for line in text.splitlines() if ":" in line)
        return {k: float(v) for k, v in pairs if re.fullmatch(r"\d+(\.\d+)?", v.strip())}

    def measure(self):
        return Measure(self)

    def api(self):
        api = Api("127.0.0.1", self.ports["http"])
        api.login("admin", self.password)
        return api

    def sim_argv(self, *args):
        return [*map(str, args), "--server", self.udp]

    def provision(self, *args, **kw):
        """Registers what the simulator described by args has; returns seconds, and the rows of provision()."""
        began = time.monotonic()
        made = provision(self.api(), self.out / "bin" / "longwave-sim", self.sim_argv(*args), application="bench", **kw)
        return time.monotonic() - began, made

    def sim(self, *args, watch=True, settle=4):
        """Runs the simulator to its end inside a Measure; its report with cpu_us per delivered uplink, rss_mb, and the
        Measure as "measure"."""
        with tempfile.NamedTemporaryFile(suffix=".json", prefix="longwave-sim-") as report:
            argv = [str(self.out / "bin" / "longwave-sim"), *self.sim_argv(*args), "--settle", str(settle), "--quiet", "--report",
                    report.name]
            if watch:
                argv += ["--mqtt", self.mqtt]
            with self.measure() as m:
                code = subprocess.run(argv, check=False).returncode
            if code:
                raise Failed(f"longwave-sim ended with {code}")
            r = json.loads(Path(report.name).read_text())
        n = max(1, r["delivered"] if watch else r["accepted"])
        r["cpu_us"] = {name: v * 1e6 / n for name, v in m.cpu_s.items()}
        r["wakes"] = {name: v / n for name, v in m.wakes.items()}
        r["rss_mb"] = m.rss_mb
        r["measure"] = m
        return r

    def ceiling(self, qos, size, seconds=5, topics=None):
        """Messages per second that this stack's broker carries from one publisher to one subscriber; `topics` is a filter whose + stands
        for the ids of 100 gateways, otherwise one topic is all."""
        tool = str(self.out / "bin" / "longwave-broker-ceiling")
        more = [topics] if topics else []
        sub = subprocess.Popen([tool, "sub", self.mqtt, str(qos), str(size), str(seconds + 2), *more], stdout=subprocess.PIPE, text=True)
        time.sleep(0.5)
        subprocess.run([tool, "pub", self.mqtt, str(qos), str(size), str(seconds), *more], stdout=subprocess.DEVNULL, check=True)
        return float(sub.communicate()[0].split()[0])

    def restart(self, name):
        """SIGKILL and a new start; seconds until it is healthy again."""
        q = self.process(name)
        q.proc.kill()
        q.proc.wait()
        began = time.monotonic()
        q.start()
        while not q.ready():
            if not q.alive() or time.monotonic() - began > 120:
                raise Failed(f"{name} does not come back:\n{q.last_words()}")
            time.sleep(0.01)
        return time.monotonic() - began

    def save_data(self, folder):
        """Ends the stack and keeps what the next one needs to go on with the same devices."""
        self.sup.stop()
        part = Path(f"{folder}.part")
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        for name in ("ns.db", "app.db", "admin-password"):
            shutil.copy2(self.state / name, part / name)
        for name in ("network-server", "app-server"):
            shutil.copytree(self.state / name, part / name)
        part.rename(folder)

    def stop(self):
        self.sup.stop()
        if self.keep:
            say(f"kept {self.state}")
        else:
            shutil.rmtree(self.state, ignore_errors=True)


class Network:
    """A stack with gateways and activated (ABP) devices that have settled: what `uplinks`, `latency` and `idle` share."""

    def __init__(self, stack, devices, gateways=100, copies=2):
        self.stack, self.devices = stack, devices
        self.base = ["--gateways", gateways, "--copies", copies, "--devices", devices, "--abp", "--seed", 3]
        self.f_cnt = 0
        self.idle_rss = None

    def prepare(self):
        time.sleep(max(0.0, 3 - (time.monotonic() - self.stack.started)))
        self.idle_rss = self.stack.rss()
        seconds, _ = self.stack.provision(*self.base)
        print(f"  registered and activated {self.devices} devices in {seconds:.1f} s over REST", flush=True)

    def traffic(self, rate, seconds, *args, **kw):
        """seconds of uplinks at a rate; each device goes on counting where it was."""
        r = self.stack.sim(*self.base, "--f-cnt", self.f_cnt, "--rate", rate, "--duration", seconds, *args, **kw)
        self.f_cnt += -(-rate * seconds // self.devices) + 10
        r["rate"] = rate
        return r

    def drain(self, timeout_s=60):
        """What a step left behind must not be measured by the next: until no event has been published for two seconds."""
        end, last, since = time.monotonic() + timeout_s, None, time.monotonic()
        while time.monotonic() < end and time.monotonic() - since < 2:
            time.sleep(0.5)
            now = self.stack.metrics("app-server").get(("longwave_as_mqtt_events_total", ""))
            if now != last:
                last, since = now, time.monotonic()

    def settle(self, rate=1000, rounds=5):
        """New devices are told channels and rates by MAC commands; what is measured is a network that has settled."""
        return self.traffic(rate, -(-self.devices * rounds // rate), watch=False)
