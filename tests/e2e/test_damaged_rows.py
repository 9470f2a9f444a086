"""Rows of the database that cannot be read any more: each is named, counted and left aside; the daemons live and go on with the rest."""

import base64
import sqlite3
import subprocess

import lw
from lw.gateway import payload

OWN_STACK = {}
DATA_LOSS = 15


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


def counted(stack):
    return stack.ns.metrics()["longwave_ns_damaged_rows_total"]


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
    # They are looked at again and again, also when nothing else is left: once mended, they are settled.
    lw.wait_for(lambda: stack.app.metrics()["longwave_as_damaged_rows_total"] >= 6, text="a third look at the two")
    sql(stack, "app", f"UPDATE device_profile SET body = (SELECT body FROM device_profile WHERE id = '{good}') WHERE id = '{bad}'")
    sql(stack, "app", "DELETE FROM ns_intent WHERE id = 'no group in it'")
    lw.wait_for(lambda: not sql(stack, "app", "SELECT id FROM ns_intent"), text="the mended one to be settled")


def test_queue_items(stack, world):
    """One that cannot be read is dropped where it would be sent, and said so; the next one goes."""
    gw, d = world.gateway(), world.device(otaa=False)

    def answer():
        world.send(d, gw, data=b"x")
        return d.downlink(payload(gw.next_txpk()))

    world.enqueue(d, b"whole")
    while answer().f_port != 10:  # the first ones may carry MAC commands only
        pass
    lw.wait_for(lambda: not sql(stack, "ns", "SELECT id FROM queue_item"), text="that one to be gone")
    bad = world.enqueue(d, b"first")
    world.enqueue(d, b"second")
    sql(stack, "ns", "UPDATE queue_item SET body = DAMAGE WHERE position = (SELECT min(position) FROM queue_item)")
    before = counted(stack)
    queue = world.rest.get(f"/api/devices/{d.dev_eui}/queue")
    assert (queue["totalCount"], [i["data"] for i in queue["result"]]) == (2, ["c2Vjb25k"])
    assert counted(stack) == before + 1
    assert answer().data == b"second"  # with the very next downlink
    log = stack.events.wait(d.dev_eui, "log", 1)
    assert log["context"]["queue_item_id"] == bad and "cannot be read" in log["description"]
    f = stack.wait_frame("INTERNAL_ERROR", dev_eui=d.dev_eui)
    assert bad in f.detail and "damaged in the database" in f.detail
    lw.wait_for(lambda: not sql(stack, "ns", "SELECT id FROM queue_item"), text="the queue to be empty")
    assert counted(stack) >= before + 2


def test_sessions_profiles_gateways(stack, world):
    """Read at the start of the network-server: what is damaged is as if it were not there, the others work."""
    gw, silent, last = (world.gateway() for _ in range(3))
    good, no_session, no_profile, no_body = (world.device(otaa=False, profile=world.profile(name=name, otaa=False))
                                             for name in ("good", "good", "other", "good"))
    twin = world.device(otaa=False, profile=world.profile(name="last", otaa=False), dev_addr=no_body.dev_addr)
    profile = sql(stack, "ns", f"SELECT device_profile_id FROM device WHERE dev_eui = {int(no_profile.dev_eui, 16)}")[0][0]
    sql(stack, "ns", f"UPDATE device SET state = DAMAGE WHERE dev_eui = {int(no_session.dev_eui, 16)}")
    sql(stack, "ns", f"UPDATE device SET body = DAMAGE WHERE dev_eui = {int(no_body.dev_eui, 16)}")
    sql(stack, "ns", f"UPDATE device_profile SET body = DAMAGE WHERE id = '{profile}'")
    sql(stack, "ns", f"UPDATE gateway SET body = DAMAGE WHERE gateway_id = {int(silent.id, 16)}")
    stack.restart(stack.ns)
    for d in no_session, no_profile, no_body, good, twin:
        world.send(d, gw, data=b"x")
    world.send(good, silent, data=b"y")
    world.send(good, last, data=b"z")
    for d in good, twin:
        assert base64.b64decode(stack.events.wait(d.dev_eui, "up", 1)["data"]) == b"x"
    assert stack.events.wait(good.dev_eui, "up", 2)["data"] == "eg=="
    damaged = [line for line in stack.ns.output().splitlines() if "a row of the database is damaged" in line]
    for name in no_session.dev_eui, profile, no_body.dev_eui, silent.id:
        assert any(name in line for line in damaged), (name, damaged)
    for d in no_session, no_profile, no_body:
        assert not stack.events.of(d.dev_eui, "up")
    status, answer = world.rest.request("GET", f"/api/longwave/devices/{no_session.dev_eui}/session")
    assert status == 400 and "not activated" in answer["message"], answer
    # Written anew it is whole again.
    world.activate(no_session)
    world.send(no_session, gw, data=b"z")
    stack.events.wait(no_session.dev_eui, "up", 1)
