"""Rows of the database that cannot be read any more: each is named, counted and left aside; the daemons live and go on with the rest."""

import sqlite3
import subprocess

import pytest

import lw
from lw.stack import Stack, World

DATA_LOSS = 15


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    s = Stack(tmp_path_factory.mktemp("damaged"))
    yield s
    s.close()


@pytest.fixture
def world(stack):
    w = World(stack)
    yield w
    stack.wait_healthy()  # nobody starts them again
    w.close()


def sql(stack, schema, text):
    """One statement in the daemon's database; DAMAGE is a message that no reader can take apart. Returns the rows, as text."""
    if stack.pg:
        out = subprocess.run([f"{stack.pg.bin}/psql", "-h", "127.0.0.1", "-p", str(stack.pg.port), "-U", "lw", "-qAt", "-v", "ON_ERROR_STOP=1",
                              "-c", f"SET search_path = {schema}", "-c", text.replace("DAMAGE", "'\\xffff'::bytea"), "postgres"],
                             check=True, capture_output=True, text=True).stdout
        return [line.split("|") for line in out.splitlines()]
    db = sqlite3.connect(f"{stack.tmp}/{schema}.db", timeout=30)
    try:
        with db:
            return [[str(c) for c in row] for row in db.execute(text.replace("DAMAGE", "X'ffff'"))]
    finally:
        db.close()


def refused(world, method, path, body=None):
    status, answer = world.rest.request(method, path, body)
    assert (status, answer["code"]) == (500, DATA_LOSS), answer
    return answer["message"]


def test_profiles_and_groups(stack, world):
    good = world.profile(name="good", measurements={"t": {"name": "temperature", "kind": "GAUGE"}})
    bad = world.profile(name="bad", measurements={"h": {"name": "humidity", "kind": "GAUGE"}})
    radio = world.profile(name="radio")
    d, other = world.device(profile=bad), world.device(profile=good)
    group = world.rest.post("/api/multicast-groups", {"multicastGroup": {
        "name": "all", "applicationId": world.app, "region": "EU868", "mcAddr": "11000078", "mcNwkSKey": "01" * 16, "mcAppSKey": "02" * 16,
        "groupType": "CLASS_C", "dr": 3, "frequency": 869525000, "fCnt": 0}})["id"]
    sql(stack, "app", f"UPDATE device_profile SET body = DAMAGE WHERE id = '{bad}'")
    sql(stack, "app", f"UPDATE device_profile SET radio = DAMAGE WHERE id = '{radio}'")
    sql(stack, "app", f"UPDATE multicast_group SET mc_app_s_key = 'no key' WHERE id = '{group}'")

    assert refused(world, "GET", f"/api/device-profiles/{bad}") == f"the stored device_profile {bad} is damaged: its body cannot be read"
    assert "radio cannot be read" in refused(world, "GET", f"/api/longwave/device-profiles/{radio}/radio")
    assert "body" in refused(world, "PUT", f"/api/longwave/device-profiles/{bad}/radio", {"radio": {}})
    body = world.rest.get(f"/api/device-profiles/{radio}")["deviceProfile"]
    assert radio in refused(world, "PUT", f"/api/device-profiles/{radio}", {"deviceProfile": body})
    assert d.dev_eui in refused(world, "POST", f"/api/devices/{d.dev_eui}/activate", {"deviceActivation": {
        "devEui": d.dev_eui, "devAddr": "01020304", "fNwkSIntKey": "01" * 16, "sNwkSIntKey": "01" * 16, "nwkSEncKey": "01" * 16,
        "appSKey": "02" * 16}})
    assert group in refused(world, "GET", f"/api/multicast-groups/{group}/queue")
    assert group in refused(world, "POST", f"/api/multicast-groups/{group}/queue", {"queueItem": {"fPort": 5, "data": "AQ=="}})
    # The rest of what such rows stand among.
    assert [k["key"] if isinstance(k, dict) else k for k in world.rest.get(f"/api/applications/{world.app}")["measurementKeys"]] == ["t"]
    assert len(world.rest.get(f"/api/device-profiles?tenantId={world.tenant}&limit=10")["result"]) == 3
    world.activate(other)
    assert stack.app.metrics()["longwave_as_damaged_rows_total"] >= 8
    line = next(x for x in stack.app.output().splitlines() if "a row of the database is damaged" in x)
    assert bad in line
    # What is written anew is whole again: the settings, too.
    world.rest.put(f"/api/longwave/device-profiles/{radio}/radio", {"radio": {}})
    world.rest.put(f"/api/device-profiles/{radio}", {"deviceProfile": body})


def test_what_the_network_server_is_to_hear(stack, world):
    """A damaged row among the changes that wait for it does not keep the others waiting."""
    good, bad = world.profile(name="good"), world.profile(name="bad")
    sql(stack, "app", f"UPDATE device_profile SET body = DAMAGE WHERE id = '{bad}'")
    for kind, id in ("device_profile", bad), ("multicast_device", "no group in it"), ("device_profile", good):
        sql(stack, "app", f"INSERT INTO ns_intent (kind, id, created_at, owner) VALUES ('{kind}', '{id}', 0, '')")
    # A change of the API that fails at the network-server has all that waits looked at.
    stack.app.kill()
    stack.app.start(wait=False)
    lw.wait_for(lambda: stack.healthy(stack.app), text="the app-server, again")
    lw.wait_for(lambda: sorted(row[0] for row in sql(stack, "app", "SELECT id FROM ns_intent")) == sorted([bad, "no group in it"]),
                text="the good one to be settled alone")
    assert stack.app.metrics()["longwave_as_damaged_rows_total"] >= 2
    sql(stack, "app", f"DELETE FROM ns_intent WHERE id IN ('{bad}', 'no group in it')")
