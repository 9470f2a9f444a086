"""The app-server with a real network-server, a broker and a database of their own. $LONGWAVE_STORE: sqlite (default) or
postgres."""

import signal
import os
import shutil
import subprocess
from types import SimpleNamespace

import pytest

import lw
from api.client import Rest

PASSWORD = "a-test-password"


class Postgres:
    """A cluster on a socket in a folder, run as the user postgres when the tests run as root."""

    def __init__(self, tmp):
        self.bin = max(__import__("glob").glob("/usr/lib/postgresql/*/bin"))
        self.dir = tmp / "pg"
        self.dir.mkdir()
        self.as_user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups"] if os.geteuid() == 0 else []
        if self.as_user:
            shutil.chown(self.dir, "postgres", "postgres")
            for parent in list(self.dir.parents)[:3]:
                parent.chmod(0o755)
        self._run("initdb", "-D", self.dir / "data", "-U", "lw", "-A", "trust", "-E", "UTF8", "--no-sync")
        for attempt in range(3):
            self.port = lw.free_port()
            try:
                self._run("pg_ctl", "-D", self.dir / "data", "-w", "-l", self.dir / "log", "-o",
                          f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={self.dir} -c fsync=off", "start")
                return
            except subprocess.CalledProcessError:  # the port was taken meanwhile
                if attempt == 2:
                    raise AssertionError((self.dir / "log").read_text()) from None

    def _run(self, program, *args):
        subprocess.run([*self.as_user, f"{self.bin}/{program}", *map(str, args)], check=True, capture_output=True, cwd=self.dir)

    def dsn(self, schema):
        return f"postgres://lw@127.0.0.1:{self.port}/postgres?schema={schema}"

    def kill(self):
        try:
            self._run("pg_ctl", "-D", self.dir / "data", "-m", "immediate", "stop")
        except subprocess.CalledProcessError:  # slow, or gone already: then by its number
            try:
                os.kill(int((self.dir / "data" / "postmaster.pid").read_text().split()[0]), signal.SIGKILL)
            except (FileNotFoundError, ProcessLookupError):
                pass


class Redis(lw.procs.Process):
    def __init__(self, tmp):
        self.port = lw.free_port()
        super().__init__(["redis-server", "--port", self.port, "--bind", "127.0.0.1", "--save", "", "--dir", tmp], tmp / "redis.log")

    @property
    def url(self):
        return f"redis://127.0.0.1:{self.port}"


class Stack:
    def __init__(self, tmp):
        self.tmp, self.parts = tmp, []
        try:
            self._start(tmp)
        except BaseException:
            self.kill()
            raise

    def _start(self, tmp):
        self.pg = Postgres(tmp) if os.environ.get("LONGWAVE_STORE") == "postgres" else None
        if self.pg:
            self.parts.append(self.pg)
        self.mqtt = lw.start_mosquitto(tmp)
        self.parts.append(self.mqtt)
        self.redis = Redis(tmp).start()
        self.parts.append(self.redis)
        self.redis.wait_output("Ready to accept connections")
        self.ns_port, self.http_port, self.grpc_port, self.join_port = (lw.free_port() for _ in range(4))
        self.ns = self._daemon("network-server", {
            "state_dir": str(tmp / "ns-state"), "database": {"dsn": self.dsn("ns")}, "grpc": {"bind": f"127.0.0.1:{self.ns_port}"},
            "mqtt": {"server": self.mqtt.url}, "join_server": {"url": f"http://127.0.0.1:{self.join_port}"},
            "redis": {"url": self.redis.url}, "geo": {"address": ""}})
        self.app = self._daemon("app-server", {
            "state_dir": str(tmp / "as-state"), "database": {"dsn": self.dsn("app")}, "http": {"bind": f"127.0.0.1:{self.http_port}"},
            "grpc": {"bind": f"127.0.0.1:{self.grpc_port}"}, "join": {"bind": f"127.0.0.1:{self.join_port}"},
            "network_server": {"address": f"127.0.0.1:{self.ns_port}"}, "mqtt": {"server": self.mqtt.url},
            "redis": {"url": self.redis.url}, "admin_password": PASSWORD})
        self.rest = Rest(f"http://127.0.0.1:{self.http_port}")
        self.app.wait_output("database is ready")
        lw.wait_for(lambda: self.app.health()[0] == 200, 30, text="health of the app-server")
        self.admin = self.rest.login("admin", PASSWORD)

    def dsn(self, name):
        return self.pg.dsn(name) if self.pg else f"sqlite://{self.tmp}/{name}.db"

    def _daemon(self, name, config):
        d = lw.Daemon(name, config, self.tmp)
        self.parts.append(d)
        return d.start()

    def kill(self):
        for p in reversed(self.parts):
            p.kill()


@pytest.fixture(scope="session")
def stack(tmp_path_factory):
    s = Stack(tmp_path_factory.mktemp("api"))
    yield s
    s.kill()


@pytest.fixture
def admin(stack):
    return stack.admin


@pytest.fixture
def world(admin):
    """A tenant of its own with an application, two profiles and nothing else."""
    w = SimpleNamespace(admin=admin)
    w.tenant = admin.post("/api/tenants", {"tenant": {"name": "T", "canHaveGateways": True}})["id"]
    w.app = admin.post("/api/applications", {"application": {"name": "A", "tenantId": w.tenant}})["id"]
    common = {"tenantId": w.tenant, "region": "EU868", "macVersion": "LORAWAN_1_0_3", "regParamsRevision": "A",
              "adrAlgorithmId": "default", "uplinkInterval": 3600}
    w.otaa = admin.post("/api/device-profiles", {"deviceProfile": {**common, "name": "otaa", "supportsOtaa": True}})["id"]
    w.abp = admin.post("/api/device-profiles", {"deviceProfile": {**common, "name": "abp"}})["id"]
    return w


_next_eui = iter(range(0x70B3D57ED0000001, 0x70B3D57ED0FFFFFF))


@pytest.fixture
def new_eui():
    return lambda: f"{next(_next_eui):016x}"
