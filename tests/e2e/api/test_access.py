"""Who may do what, over REST: missing, wrong and revoked tokens; roles; read-only keys; other tenants."""

import pytest


def user(admin, tenant=None, **roles):
    """A signed-in user, member of the tenant with the roles."""
    user.n += 1
    email = f"user{user.n}@example.org"
    body = {"user": {"email": email, "isActive": True}, "password": "password-1"}
    if tenant:
        body["tenants"] = [{"tenantId": tenant, **roles}]
    uid = admin.post("/api/users", body)["id"]
    session = admin.with_token(None).login(email, "password-1")
    session.uid, session.email = uid, email
    return session


user.n = 0


def key(admin, **fields):
    answer = admin.post("/api/internal/api-keys", {"apiKey": {"name": "k", **fields}})
    session = admin.with_token(answer["token"])
    session.key_id = answer["id"]
    return session


def device(w, eui, name="d"):
    return {"device": {"devEui": eui, "name": name, "applicationId": w.app, "deviceProfileId": w.otaa}}


def test_tokens(stack, world):
    path = f"/api/tenants/{world.tenant}"
    for token in (None, "x", "a.b.c", stack.admin.token[:-3], stack.admin.token + "A" * 2000):
        status, answer = stack.rest.with_token(token).request("GET", path)
        assert (status, answer["code"]) == (401, 16)
    status, _ = stack.rest.request("GET", path, headers={"Grpc-Metadata-Authorization": f"Bearer {stack.admin.token}"})
    assert status == 200


def test_login(stack, admin):
    for email, password in (("admin", "wrong-password"), ("nobody", "wrong-password"), ("", ""), ("admin", "x" * 5000)):
        status, answer = stack.rest.request("POST", "/api/internal/login", {"email": email, "password": password})
        assert (status, answer["code"], answer["message"]) == (401, 16, "Invalid username or password")
    someone = user(admin)
    admin.put(f"/api/users/{someone.uid}", {"user": {"email": someone.email, "isActive": False}})
    assert stack.rest.request("POST", "/api/internal/login", {"email": someone.email, "password": "password-1"})[0] == 401
    # … and the token that it has.
    assert someone.request("GET", "/api/internal/profile")[0] == 401
    admin.put(f"/api/users/{someone.uid}", {"user": {"email": someone.email, "isActive": True}})
    assert someone.get("/api/internal/profile")["user"]["id"] == someone.uid
    admin.post(f"/api/users/{someone.uid}/password", {"password": "password-2"})
    assert stack.rest.request("POST", "/api/internal/login", {"email": someone.email, "password": "password-1"})[0] == 401
    stack.rest.login(someone.email.upper(), "password-2")


@pytest.mark.parametrize("roles,apps,gateways,users", [
    ({}, 403, 403, 403), ({"isAdmin": True}, 200, 200, 200), ({"isDeviceAdmin": True}, 200, 403, 403),
    ({"isGatewayAdmin": True}, 403, 200, 403)])
def test_roles(admin, world, new_eui, roles, apps, gateways, users):
    member = user(admin, world.tenant, **roles)
    assert member.get(f"/api/tenants/{world.tenant}")["tenant"]["name"] == "T"
    assert member.get("/api/tenants?limit=10")["totalCount"] == 1
    member.call("POST", "/api/applications", {"application": {"name": "x", "tenantId": world.tenant}}, apps)
    member.call("POST", "/api/devices", device(world, new_eui()), apps)
    member.call("POST", "/api/gateways", {"gateway": {"gatewayId": new_eui(), "name": "g", "tenantId": world.tenant}}, gateways)
    member.call("POST", f"/api/tenants/{world.tenant}/users", {"tenantUser": {"email": user(admin).email}}, users)
    member.call("PUT", f"/api/tenants/{world.tenant}", {"tenant": {"name": "T"}}, 403)
    member.call("GET", "/api/users?limit=1", expect=403)


def test_a_stranger_sees_nothing(admin, world, new_eui):
    eui, gw = new_eui(), new_eui()
    admin.post("/api/devices", device(world, eui))
    admin.post("/api/gateways", {"gateway": {"gatewayId": gw, "name": "g", "tenantId": world.tenant}})
    stranger = user(admin)
    assert stranger.get("/api/tenants?limit=10") == {"totalCount": 0, "result": []}
    for path in (f"/api/tenants/{world.tenant}", f"/api/applications/{world.app}", f"/api/devices/{eui}", f"/api/gateways/{gw}",
                 f"/api/gateways?limit=10&tenantId={world.tenant}", "/api/gateways?limit=10", f"/api/devices/{eui}/queue",
                 f"/api/devices?applicationId={world.app}", f"/api/device-profiles/{world.otaa}",
                 f"/api/device-profiles?tenantId={world.tenant}", "/api/device-profiles", f"/api/devices/{eui}/keys",
                 "/api/internal/devices-summary", f"/api/internal/devices-summary?tenantId={world.tenant}",
                 # What does not exist is no different to a stranger.
                 "/api/devices/0123456789abcdef", "/api/applications/00000000-0000-4000-8000-000000000000"):
        status, answer = stranger.request("GET", path)
        assert (path, status, answer["code"]) == (path, 403, 7)
    assert stranger.post("/api/internal/search", {"search": "d", "limit": 10})["result"] == []


def test_membership_ends_at_once(admin, world):
    member = user(admin, world.tenant, isAdmin=True)
    member.get(f"/api/applications/{world.app}")
    admin.put(f"/api/tenants/{world.tenant}/users/{member.uid}", {"tenantUser": {"isAdmin": False}})
    member.call("PUT", f"/api/applications/{world.app}", {"application": {"name": "A"}}, 403)
    admin.delete(f"/api/tenants/{world.tenant}/users/{member.uid}")
    member.call("GET", f"/api/applications/{world.app}", expect=403)
    admin.call("GET", f"/api/tenants/{world.tenant}/users/{member.uid}", expect=404)


def test_keys(admin, world, new_eui):
    of_tenant, of_admin = key(admin, tenantId=world.tenant), key(admin, isAdmin=True)
    reader = key(admin, tenantId=world.tenant, isReadOnly=True)
    eui = new_eui()
    reader.call("POST", "/api/devices", device(world, eui), 403)
    of_tenant.post("/api/devices", device(world, eui))
    assert reader.get(f"/api/devices/{eui}")["device"]["devEui"] == eui
    reader.call("DELETE", f"/api/devices/{eui}", expect=403)
    of_tenant.call("GET", "/api/users?limit=1", expect=403)
    of_admin.get("/api/users?limit=1")
    # Keys manage no keys and have no profile.
    of_admin.call("GET", "/api/internal/api-keys?isAdmin=true", expect=403)
    of_admin.call("POST", "/api/internal/api-keys", {"apiKey": {"name": "k", "isAdmin": True}}, 403)
    of_admin.call("GET", "/api/internal/profile", expect=403)
    listed = admin.get(f"/api/internal/api-keys?limit=10&tenantId={world.tenant}")
    assert listed["totalCount"] == 2 and {k["id"] for k in listed["result"]} == {of_tenant.key_id, reader.key_id}
    admin.delete(f"/api/internal/api-keys/{of_tenant.key_id}")
    of_tenant.call("GET", f"/api/devices/{eui}", expect=401)
    admin.call("DELETE", f"/api/internal/api-keys/{of_tenant.key_id}", expect=404)
    # A key is an administrator's or a tenant's.
    admin.call("POST", "/api/internal/api-keys", {"apiKey": {"name": "k"}}, 400)
    admin.call("POST", "/api/internal/api-keys", {"apiKey": {"name": "k", "isAdmin": True, "tenantId": world.tenant}}, 400)


def test_tenant_admins_cannot_reach_further(admin, world):
    member = user(admin, world.tenant, isAdmin=True)
    member.call("POST", "/api/internal/api-keys", {"apiKey": {"name": "k", "isAdmin": True}}, 403)
    member.call("GET", "/api/internal/api-keys?limit=1&isAdmin=true", expect=403)
    member.call("GET", f"/api/internal/api-keys?limit=1&isAdmin=true&tenantId={world.tenant}", expect=403)
    member.post("/api/internal/api-keys", {"apiKey": {"name": "k", "tenantId": world.tenant}})
    assert member.get(f"/api/internal/api-keys?limit=9&tenantId={world.tenant}")["totalCount"] == 1


def test_own_user(admin):
    me = user(admin)
    assert me.get(f"/api/users/{me.uid}")["user"]["email"] == me.email
    me.post(f"/api/users/{me.uid}/password", {"password": "password-9"})
    me.call("PUT", f"/api/users/{me.uid}", {"user": {"email": me.email, "isActive": True, "isAdmin": True}}, 403)
    profile = admin.get("/api/internal/profile")["user"]
    admin.call("DELETE", f"/api/users/{profile['id']}", expect=400)


def test_values_of_headers_are_for_those_who_may_set_them(admin, world):
    """Tokens of an integration: a reader sees their names. Nobody's update loses them."""
    path = f"/api/applications/{world.app}/integrations/http"
    body = {"integration": {"eventEndpointUrl": "http://127.0.0.1:9/", "encoding": "JSON", "headers": {"Authorization": "Bearer s3cret"}}}
    admin.post(path, body)
    try:
        reader, changer = user(admin, world.tenant), user(admin, world.tenant, isDeviceAdmin=True)
        for who in (reader, key(admin, tenantId=world.tenant, isReadOnly=True)):
            assert who.get(path)["integration"]["headers"] == {"Authorization": "(hidden)"}
        for who in (admin, changer, key(admin, tenantId=world.tenant)):
            assert who.get(path)["integration"]["headers"] == {"Authorization": "Bearer s3cret"}
        reader.call("PUT", path, body, 403)
    finally:
        admin.delete(path)
