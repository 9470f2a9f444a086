"""The API with a stock gRPC client: the package's own messages, server reflection, health, gRPC-web."""

import base64
import struct

import grpc
import pytest
import requests

from lw.pb import message
from lw.procs import PATIENCE_S


@pytest.fixture
def channel(stack):
    with grpc.insecure_channel(f"127.0.0.1:{stack.grpc_port}") as c:
        yield c


def call(channel, path, request, answer, token=None):
    stub = channel.unary_unary(path, request_serializer=lambda m: m.SerializeToString(), response_deserializer=message(answer).FromString)
    return stub(request, metadata=[("authorization", f"Bearer {token}")] if token else [], timeout=PATIENCE_S)


def test_a_device_and_its_queue(stack, channel, new_eui):
    t, eui = stack.admin.token, new_eui()
    tenant = call(channel, "/api.TenantService/Create", message("api.CreateTenantRequest")(tenant={"name": "G"}), "api.CreateTenantResponse", t)
    app = call(channel, "/api.ApplicationService/Create",
               message("api.CreateApplicationRequest")(application={"name": "a", "tenant_id": tenant.id}), "api.CreateApplicationResponse", t)
    profile = call(channel, "/api.DeviceProfileService/Create", message("api.CreateDeviceProfileRequest")(
        device_profile={"name": "p", "tenant_id": tenant.id, "mac_version": 3, "supports_otaa": True}), "api.CreateDeviceProfileResponse", t)
    device = {"dev_eui": eui, "name": "d", "application_id": app.id, "device_profile_id": profile.id, "tags": {"a": "b"}}
    call(channel, "/api.DeviceService/Create", message("api.CreateDeviceRequest")(device=device), "google.protobuf.Empty", t)
    got = call(channel, "/api.DeviceService/Get", message("api.GetDeviceRequest")(dev_eui=eui), "api.GetDeviceResponse", t)
    assert got.device.name == "d" and dict(got.device.tags) == {"a": "b"} and got.HasField("created_at")
    assert not got.HasField("last_seen_at")
    item = call(channel, "/api.DeviceService/Enqueue", message("api.EnqueueDeviceQueueItemRequest")(
        queue_item={"dev_eui": eui, "f_port": 5, "data": b"\1\2"}), "api.EnqueueDeviceQueueItemResponse", t)
    queue = call(channel, "/api.DeviceService/GetQueue", message("api.GetDeviceQueueItemsRequest")(dev_eui=eui),
                 "api.GetDeviceQueueItemsResponse", t)
    assert [(i.id, i.data) for i in queue.result] == [(item.id, b"\1\2")]


def test_errors(stack, channel):
    get = message("api.GetDeviceRequest")(dev_eui="0123456789abcdef")
    for token, code in ((None, grpc.StatusCode.UNAUTHENTICATED), (stack.admin.token, grpc.StatusCode.NOT_FOUND)):
        with pytest.raises(grpc.RpcError) as e:
            call(channel, "/api.DeviceService/Get", get, "api.GetDeviceResponse", token)
        assert e.value.code() == code
    with pytest.raises(grpc.RpcError) as e:
        call(channel, "/api.DeviceService/Fly", get, "api.GetDeviceResponse", stack.admin.token)
    assert e.value.code() == grpc.StatusCode.UNIMPLEMENTED


def test_reflection_and_health(channel):
    req, resp = "grpc.reflection.v1.ServerReflectionRequest", message("grpc.reflection.v1.ServerReflectionResponse")
    stub = channel.stream_stream("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
                                 request_serializer=lambda m: m.SerializeToString(), response_deserializer=resp.FromString)
    asked = [message(req)(list_services=""), message(req)(file_containing_symbol="api.DeviceService"),
             message(req)(file_by_filename="google/protobuf/timestamp.proto")]
    services, by_symbol, by_name = list(stub(iter(asked), timeout=PATIENCE_S))
    listed = {s.name for s in services.list_services_response.service}
    assert {"api.DeviceService", "api.TenantService", "api.InternalService", "grpc.health.v1.Health"} <= listed
    assert by_symbol.file_descriptor_response.file_descriptor_proto and by_name.file_descriptor_response.file_descriptor_proto
    health = call(channel, "/grpc.health.v1.Health/Check", message("grpc.health.v1.HealthCheckRequest")(), "grpc.health.v1.HealthCheckResponse")
    assert health.status == 1


@pytest.mark.parametrize("text", [False, True])
def test_grpc_web(stack, text):
    body = message("api.ListTenantsRequest")(limit=1).SerializeToString()
    frame = struct.pack(">BI", 0, len(body)) + body
    kind = "application/grpc-web-text" if text else "application/grpc-web+proto"
    r = requests.post(f"{stack.rest.base}/api.TenantService/List", data=base64.b64encode(frame) if text else frame, timeout=PATIENCE_S,
                      headers={"content-type": kind, "accept": kind, "authorization": f"Bearer {stack.admin.token}"})
    assert r.status_code == 200
    data = base64.b64decode(r.content) if text else r.content
    flag, n = struct.unpack(">BI", data[:5])
    assert flag == 0
    assert len(message("api.ListTenantsResponse").FromString(data[5:5 + n]).result) == 1
    assert b"grpc-status:0" in data[5 + n:].replace(b" ", b"")
