"""Databases and peers that are away: clear answers, and the process lives."""

import lw
from api.client import Rest


def app_server(tmp_path, procs, dsn, **more):
    port = lw.free_port()
    d = lw.Daemon("app-server", {
        "state_dir": str(tmp_path / "as-state"), "database": {"dsn": dsn}, "http": {"bind": f"127.0.0.1:{port}"}, "grpc": {"bind": "127.0.0.1:0"}, "join": {"bind": ""},
        "network_server": {"address": f"127.0.0.1:{lw.free_port()}"}, "mqtt": {"server": f"tcp://127.0.0.1:{lw.free_port()}"},
        "redis": {"url": f"redis://127.0.0.1:{lw.free_port()}"}, **more}, tmp_path)
    procs.append(d)
    return d, Rest(f"http://127.0.0.1:{port}")


def test_database_away_at_start(tmp_path, procs):
    d, rest = app_server(tmp_path, procs, f"postgres://x@127.0.0.1:{lw.free_port()}/x?schema=app")
    d.start()
    status, answer = rest.request("POST", "/api/internal/login", {"email": "admin", "password": "x"})
    assert (status, answer["code"]) == (503, 14)
    assert d.health()[0] == 503 and "database" in d.health()[1]
    assert rest.request("GET", "/api/openapi.json")[0] == 200
    assert d.stop() == 0


def test_first_login_is_random_and_shown_once(tmp_path, procs):
    d, rest = app_server(tmp_path, procs, f"sqlite://{tmp_path}/app.db")
    d.start()
    d.wait_output("First login: user admin, password ")
    password = d.output().split("password ")[1].split()[0]
    assert len(password) >= 16
    d.wait_output("database is ready")
    token = rest.login("admin", password).token
    # A call that needs the network-server says so.
    tenant = rest.with_token(token).get("/api/tenants?limit=1")["result"][0]
    assert tenant["name"] == "Longwave"
    rest.with_token(token).call("POST", "/api/gateways", {"gateway": {"gatewayId": "01" * 8, "name": "g", "tenantId": tenant["id"]}}, 503)
    assert d.stop() == 0
    d.start()
    d.wait_output("database is ready")
    assert "First login" not in d.output()
    # Tokens outlive the process.
    rest.with_token(token).get("/api/internal/profile")
    assert d.stop() == 0
