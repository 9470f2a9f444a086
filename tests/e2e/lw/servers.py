"""PostgreSQL and Redis of a test: in its folder, on loopback, on free ports, ended by their own process id."""

import glob
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from pathlib import Path

from lw.procs import PATIENCE_S, Process, free_port, wait_for


def _listens(port):
    with socket.socket() as s:
        s.settimeout(1)
        return s.connect_ex(("127.0.0.1", port)) == 0


class Postgres(Process):
    """A cluster of its own, run as the user postgres when the tests run as root. Its folder lies outside of pytest's, whose
    parents are closed to other users."""

    def __init__(self):
        self.bin = max(glob.glob("/usr/lib/postgresql/*/bin"))
        self.dir = Path(tempfile.mkdtemp(prefix="lw-e2e-pg-"))
        self.port = free_port()
        self._as = ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups", "--pdeathsig", "INT"] if os.geteuid() == 0 else []
        if self._as:
            shutil.chown(self.dir, "postgres", "postgres")
        subprocess.run([*self._as, f"{self.bin}/initdb", "-D", str(self.dir / "data"), "-U", "lw", "-A", "trust", "-E", "UTF8",
                        "--locale=C", "--no-sync"], check=True, capture_output=True, cwd=self.dir)
        super().__init__([*self._as, f"{self.bin}/postgres", "-D", self.dir / "data", "-p", self.port, "-h", "127.0.0.1", "-k", self.dir,
                          "-c", "fsync=off", "-c", "shared_buffers=32MB"], self.dir / "log", cwd=self.dir)

    def dsn(self, schema):
        return f"postgres://lw@127.0.0.1:{self.port}/postgres?schema={schema}"

    def start(self):
        super().start()
        wait_for(lambda: not self.running() or _listens(self.port), text="PostgreSQL")
        assert self.running(), self.output()
        self.wait_output("ready to accept connections")
        return self

    def stop(self, timeout=PATIENCE_S):
        """Fast shutdown: sessions are cut."""
        if self.running():
            self.proc.send_signal(signal.SIGINT)
            self.proc.wait(timeout)

    def kill(self):
        if self.running():
            self.proc.send_signal(signal.SIGQUIT)
            self.proc.wait(PATIENCE_S)

    def remove(self):
        self.kill()
        shutil.rmtree(self.dir, ignore_errors=True)


class Redis(Process):
    def __init__(self, tmp):
        self.port = free_port()
        super().__init__(["redis-server", "--port", self.port, "--bind", "127.0.0.1", "--save", "", "--dir", tmp], Path(tmp) / "redis.log")

    @property
    def url(self):
        return f"redis://127.0.0.1:{self.port}"

    def start(self):
        super().start()
        self.wait_output("Ready to accept connections")
        return self

    def command(self, *words):
        """One command in Redis' own protocol; returns the raw answer."""
        with socket.create_connection(("127.0.0.1", self.port), 10) as s:
            s.sendall(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w.encode()) for w in words))
            return s.recv(65536)
