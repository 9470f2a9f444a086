"""Starting and ending the processes of a test: on loopback, on free ports, each ended by its own handle."""

import fcntl
import json
import os
import random
import re
import signal
import socket
import subprocess
import tempfile
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
# How long a test waits for what must come. It costs nothing where it comes, so machines may be slow; how long something may take is
# tested with clocks of its own. Less where a test asks whether something comes.
PATIENCE_S = 60
STOP_TIMEOUT = 40
DIE_WITH_THE_TESTS = ["setpriv", "--pdeathsig", "KILL"]


def build_dir():
    """Where the binaries are: $LONGWAVE_BUILD, else build/dev."""
    return Path(os.environ.get("LONGWAVE_BUILD") or ROOT / "build" / "dev").resolve()


class _Ports:
    """Ports below those that Linux gives to outgoing connections, in blocks that one test process has at a time (as tests/fixtures
    does): a port that is free now is still free when the daemon it was chosen for gets to bind it, and when it is started again."""

    BLOCK, FIRST, END = 64, 20480, 32640

    def __init__(self):
        self._folder = Path(tempfile.gettempdir()) / f"longwave-test-ports-{os.getuid()}"
        self._folder.mkdir(exist_ok=True)
        self._blocks = list(range(self.FIRST, self.END, self.BLOCK))
        random.SystemRandom().shuffle(self._blocks)
        self._locks, self._left = [], []
        self._lock = threading.Lock()

    def _next_block(self):
        first = self._blocks.pop()
        f = open(self._folder / str(first), "w")
        try:
            fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            f.close()
            return
        self._locks.append(f)  # held until this process ends
        self._left = list(range(first, first + self.BLOCK))

    def take(self, kind):
        with self._lock:
            while True:
                while not self._left:
                    self._next_block()
                port = self._left.pop()
                with socket.socket(socket.AF_INET, kind) as s:
                    try:
                        s.bind(("127.0.0.1", port))
                        return port
                    except OSError:
                        pass  # someone else's


_ports = _Ports()


def free_port(kind=socket.SOCK_STREAM):
    return _ports.take(kind)


def wait_for(what, timeout=PATIENCE_S, step=0.01, text="condition"):
    """Calls what() until it returns something true, and returns that."""
    end = time.monotonic() + timeout
    while True:
        got = what()
        if got:
            return got
        if time.monotonic() > end:
            raise AssertionError(f"{text} did not come true within {timeout} s")
        time.sleep(step)


class Process:
    """A child whose output goes to a file."""

    def __init__(self, argv, log, env=None, cwd=None):
        self.argv, self.log, self.env, self.cwd = [str(a) for a in argv], Path(log), env, cwd
        self.proc = None

    def start(self):
        with open(self.log, "ab") as f:
            self.began = f.tell()
            self.proc = subprocess.Popen(DIE_WITH_THE_TESTS + self.argv, stdout=f, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                                         env=self.env, cwd=self.cwd)
        return self

    @property
    def pid(self):
        return self.proc.pid

    def running(self):
        return self.proc is not None and self.proc.poll() is None

    def rss_kb(self):
        """Resident memory."""
        return int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{self.pid}/status").read_text())[1])

    def output(self):
        """What it wrote since it was last started."""
        with open(self.log, "rb") as f:
            f.seek(self.began)
            return f.read().decode(errors="replace")

    def wait_output(self, pattern, timeout=PATIENCE_S):
        def seen():
            if re.search(pattern, self.output(), re.M):
                return True
            if not self.running():
                raise AssertionError(f"{self.argv[0]} ended with {self.proc.returncode}:\n{self.output()}")
            return False

        try:
            wait_for(seen, timeout, text=f"{pattern!r} in the output")
        except AssertionError as e:
            raise AssertionError(f"{e}\n{self.output()[-4000:]}") from None

    def kill(self):
        """kill -9, and gone."""
        if self.running():
            self.proc.kill()
        if self.proc:
            self.proc.wait()

    def stop(self, timeout=STOP_TIMEOUT):
        """SIGTERM; returns the exit status."""
        if self.running():
            self.proc.send_signal(signal.SIGTERM)
            try:
                self.proc.wait(timeout)
            except subprocess.TimeoutExpired:
                self.proc.kill()
                self.proc.wait()
                raise AssertionError(f"{self.argv[0]} did not end within {timeout} s of SIGTERM:\n{self.output()[-4000:]}") from None
        return self.proc.returncode if self.proc else None


class Mosquitto(Process):
    """A broker of its own: anonymous, unbounded queues, state in its folder; survives a restart on the same port."""

    def __init__(self, tmp):
        self.dir = Path(tmp) / "mosquitto"
        self.dir.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        conf = self.dir / "mosquitto.conf"
        conf.write_text(f"listener {self.port} 127.0.0.1\nallow_anonymous true\npersistence true\n"
                        f"persistence_location {self.dir}/\nmax_queued_messages 0\nmax_inflight_messages 0\n"
                        "queue_qos0_messages true\n"
                        + ("user root\n" if os.geteuid() == 0 else ""))
        program = next((p for p in ("/usr/sbin/mosquitto", "/usr/local/sbin/mosquitto") if os.path.exists(p)), "mosquitto")
        super().__init__([program, "-c", conf], self.dir / "log")

    @property
    def url(self):
        return f"tcp://127.0.0.1:{self.port}"

    def start(self):
        super().start()

        def up():
            if not self.running():
                raise AssertionError(f"mosquitto ended:\n{self.output()}")
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return True
            except OSError:
                return False

        wait_for(up, text="mosquitto")
        return self


class Daemon(Process):
    """One of Longwave's daemons with a configuration of its own. `config` is a dict (written as JSON, which is YAML)."""

    def __init__(self, name, config, tmp, env=None):
        self.name = name
        self.dir = Path(tmp) / name
        self.dir.mkdir(parents=True, exist_ok=True)
        self.config_path = self.dir / "config.yaml"
        self.http_port = free_port()
        if isinstance(config, dict):
            config = dict(config)
            config.setdefault("metrics", {"bind": f"127.0.0.1:{self.http_port}"})
            self.http_port = int(config["metrics"]["bind"].rsplit(":", 1)[1] or 0) if config["metrics"]["bind"] else 0
            config = json.dumps(config, indent=1)
        self.config_path.write_text(config)
        program = build_dir() / "bin" / f"longwave-{name}"
        super().__init__([program, "-c", self.config_path], self.dir / "log", env)

    def start(self, wait=True):
        super().start()
        if wait:
            self.wait_output(r"\bready\b")
        return self

    def health(self):
        """Status code and body of GET /health."""
        return _get(f"http://127.0.0.1:{self.http_port}/health")

    def metrics(self):
        """All series: {"name{label}": value}."""
        _, text = _get(f"http://127.0.0.1:{self.http_port}/metrics")
        out = {}
        for line in text.splitlines():
            if line and not line.startswith("#"):
                key, value = line.rsplit(" ", 1)
                out[key] = float(value)
        return out


def _get(url):
    try:
        with urllib.request.urlopen(url, timeout=PATIENCE_S) as r:
            return r.status, r.read().decode()
    except urllib.error.HTTPError as e:
        return e.code, e.read().decode()


def start_mosquitto(tmp):
    return Mosquitto(tmp).start()


def start_daemon(name, config, tmp, env=None, wait=True):
    return Daemon(name, config, tmp, env).start(wait)
