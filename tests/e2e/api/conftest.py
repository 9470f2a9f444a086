"""The app-server with a real network-server, a broker and a database of their own. $LONGWAVE_STORE: sqlite (default) or
postgres."""

from types import SimpleNamespace

import pytest

import lw
from api.client import Rest
from lw.servers import Postgres, Redis
from lw.stack import store

PASSWORD = "a-test-password"


class Stack:
    def __init__(self, tmp):
        self.tmp, self.parts, self.pg = tmp, [], None
        try:
            self._start(tmp)
        except BaseException:
            self.kill()
            raise

    def _start(self, tmp):
        self.pg = Postgres().start() if store() == "postgres" else None
        self.mqtt = lw.start_mosquitto(tmp)
        self.parts.append(self.mqtt)
        self.redis = Redis(tmp)
        self.parts.append(self.redis)
        self.redis.start()
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
        lw.wait_for(lambda: self.app.health()[0] == 200, text="health of the app-server")
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
        if self.pg:
            self.pg.remove()


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
