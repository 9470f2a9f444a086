"""What the recording cannot show: connection states, outages of broker and bridge, several listeners and downlinks, bad input."""

import json
import os
import random
import signal
import socket

import pytest

import lw
from bridge.gateway import LORA, Bridge, Fence, Gateway, encode

EUI = "0016c001f1500812"


def state(payload):
    return json.loads(payload).get("state", "OFFLINE")


def frame(n):
    """An uplink that says its number: in the payload, and in the counter."""
    import base64
    data = b"\x40" + n.to_bytes(13, "big")
    return {"rxpk": [dict(LORA, tmst=n, data=base64.b64encode(data).decode())]}


def number(m):
    import base64
    return int.from_bytes(base64.b64decode(json.loads(m.payload)["phyPayload"])[1:], "big")


def command(downlink_id, n_items=1, gateway=EUI):
    item = {"phyPayload": "YKTzAQGgDAAKVgcQ",
            "txInfo": {"frequency": 868300000, "power": 14, "timing": {"delay": {"delay": "1s"}}, "context": "Gis8TQ==",
                       "modulation": {"lora": {"bandwidth": 125000, "spreadingFactor": 9, "codeRate": "CR_4_5",
                                               "polarizationInversion": True}}}}
    return json.dumps({"downlinkId": downlink_id, "gatewayId": gateway, "items": [item] * n_items})


def drops(bridge, reason):
    return bridge.daemon.metrics()[f'longwave_gb_dropped_total{{reason="{reason}"}}']


def retained_state(mosquitto, eui=EUI):
    client = lw.Mqtt(mosquitto.port, f"eu868/gateway/{eui}/state/conn")
    try:
        m = client.take("state/conn")
        assert m.retain
        return state(m.payload)
    finally:
        client.close()


@pytest.fixture
def bridge(tmp_path, mosquitto, procs, request):
    config = request.node.get_closest_marker("config")
    return Bridge(tmp_path, mosquitto, procs, marshaler="json", **(config.kwargs if config else {}))


@pytest.fixture
def mqtt(mosquitto):
    client = lw.Mqtt(mosquitto.port, "+/gateway/+/event/#", "+/gateway/+/state/#")
    yield client
    client.close()


def test_state_is_retained(bridge, mosquitto, mqtt):
    bridge.gateway().pull()
    mqtt.take("state/conn")
    assert retained_state(mosquitto) == "ONLINE"
    assert bridge.daemon.health()[0] == 200
    assert bridge.daemon.stop() == 0
    assert retained_state(mosquitto) == "OFFLINE"


@pytest.mark.config(udp={"gateway_timeout": "300ms"})
def test_silent_gateway_goes_offline(bridge, mqtt):
    gw = bridge.gateway().pull()
    assert state(mqtt.take("state/conn").payload) == "ONLINE"
    assert state(mqtt.take("state/conn").payload) == "OFFLINE"
    assert bridge.daemon.metrics()["longwave_gb_gateways_connected"] == 0
    gw.pull()
    assert state(mqtt.take("state/conn").payload) == "ONLINE"


def test_killed_bridge_takes_back_what_it_announced(bridge, mosquitto, mqtt):
    stays, leaves = bridge.gateway(), bridge.gateway("0000000000000002")
    for gw in (stays, leaves):
        gw.pull()
        mqtt.take(f"{gw.id}/state/conn")
    bridge.daemon.kill()
    assert retained_state(mosquitto, leaves.id) == "ONLINE"
    bridge.daemon.start()
    lw.wait_for(lambda: retained_state(mosquitto, leaves.id) == "OFFLINE", text="OFFLINE")
    stays.pull()
    lw.wait_for(lambda: retained_state(mosquitto, stays.id) == "ONLINE", text="ONLINE")
    # Once is enough: a further start says nothing about the one that left.
    mqtt.take_all()
    bridge.daemon.kill()
    bridge.daemon.start()
    mqtt.take(f"{stays.id}/state/conn")
    Fence(bridge, mqtt, "json").events()
    assert not [m for m in mqtt.take_all() if leaves.id in m.topic]


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_broker_away(bridge, mosquitto, mqtt, how):
    gw = bridge.gateway().pull()
    gw.push(frame(0))
    mqtt.take("event/up")
    getattr(mosquitto, how)()
    n = 700
    for i in range(1, n):
        gw.push(frame(i))
    # A gateway may come while the broker is away.
    late = bridge.gateway("0000000000000002").pull()
    lw.wait_for(lambda: bridge.daemon.health()[0] == 503, text="health says that the broker is away")
    lw.wait_for(lambda: bridge.daemon.metrics()["longwave_gb_spool_events"] == n - 1, text="everything in the spool")
    # The bridge waits until somebody listens: the broker keeps nothing for who is not there.
    os.kill(bridge.daemon.pid, signal.SIGSTOP)
    mosquitto.start()
    mqtt.wait_subscribed()
    os.kill(bridge.daemon.pid, signal.SIGCONT)
    for i in range(n, n + 20):
        gw.push(frame(i))
    got = mqtt.take_until(lambda m: m.topic.endswith("event/up") and number(m) == n + 19)
    seen = list(dict.fromkeys(number(m) for m in got if m.topic.endswith("event/up")))
    # What was acknowledged just before the end may come again, before the rest.
    assert [x for x in seen if x] == list(range(1, n + 20)) and 0 not in seen[1:], "in order, nothing missing"
    for gateway in (gw, late):
        assert retained_state(mosquitto, gateway.id) == "ONLINE"
        mqtt.publish(f"eu868/gateway/{gateway.id}/command/down", command(5, gateway=gateway.id))
        assert gateway.pull_resp() is not None, "commands are subscribed to again"
    lw.wait_for(lambda: bridge.daemon.metrics()["longwave_gb_spool_events"] == 0, text="empty spool")


def test_spool_survives_the_bridge(bridge, mosquitto, mqtt):
    gw = bridge.gateway().pull()
    mosquitto.stop()
    for i in range(50):
        gw.push(frame(i))
    lw.wait_for(lambda: bridge.daemon.metrics()["longwave_gb_spool_events"] == 50, text="everything in the spool")
    bridge.daemon.kill()
    mosquitto.start()
    mqtt.wait_subscribed()
    bridge.daemon.start()
    got = mqtt.take_until(lambda m: m.topic.endswith("event/up") and number(m) == 49)
    assert [number(m) for m in got if m.topic.endswith("event/up")] == list(range(50))


def test_two_listeners(tmp_path, mosquitto, procs, mqtt):
    ports = [lw.free_port(socket.SOCK_DGRAM) for _ in range(2)]
    b = Bridge(tmp_path, mosquitto, procs, marshaler="json", listeners=[
        {"bind": f"127.0.0.1:{ports[0]}", "topic_prefix": "eu868"},
        {"bind": f"127.0.0.1:{ports[1]}", "topic_prefix": "us915_0", "name": "north"}])
    eu, us = (Gateway(EUI, p).pull() for p in ports)
    for prefix, gw, other in (("eu868", eu, us), ("us915_0", us, eu)):
        gw.push(frame(1))
        assert mqtt.take("event/up").topic == f"{prefix}/gateway/{EUI}/event/up"
        mqtt.publish(f"{prefix}/gateway/{EUI}/command/down", command(7))
        token, _ = gw.pull_resp()
        gw.tx_ack(token)
        assert mqtt.take("event/ack").topic == f"{prefix}/gateway/{EUI}/event/ack"
        assert Gateway.recv(other.down, 0) is None
    assert b.daemon.metrics()["longwave_gb_gateways_connected"] == 2


def test_unheard_events_wait(tmp_path, mosquitto, procs):
    """A region to which nobody listens keeps its events, in order, and holds up no other region."""
    ports = [lw.free_port(socket.SOCK_DGRAM) for _ in range(2)]
    b = Bridge(tmp_path, mosquitto, procs, marshaler="json", listeners=[
        {"bind": f"127.0.0.1:{ports[0]}", "topic_prefix": "eu868"},
        {"bind": f"127.0.0.1:{ports[1]}", "topic_prefix": "us915_0"}])
    eu, us = (Gateway(EUI, p).pull() for p in ports)
    heard = lw.Mqtt(mosquitto.port, "eu868/gateway/+/event/up")
    for n in range(20):
        us.push(frame(n))
        eu.push(frame(100 + n))
        assert number(heard.take("event/up")) == 100 + n
    lw.wait_for(lambda: b.daemon.metrics()["longwave_gb_spool_events"] == 20, text="20 events in the spool")
    heard.close()
    late = lw.Mqtt(mosquitto.port, "us915_0/gateway/+/event/up")
    assert [number(late.take("event/up")) for _ in range(20)] == list(range(20))
    lw.wait_for(lambda: b.daemon.metrics()["longwave_gb_spool_events"] == 0, text="an empty spool")
    late.close()


def rules(mosquitto, *lines):
    """Takes effect with its next start."""
    acl = mosquitto.dir / "acl"
    acl.write_text("".join(f"topic {line}\n" for line in (*lines, "readwrite #")))
    acl.chmod(0o644)
    conf = mosquitto.dir / "mosquitto.conf"
    if "acl_file" not in conf.read_text():
        with open(conf, "a") as f:
            f.write(f"acl_file {acl}\n")


def numbers(got):
    return list(dict.fromkeys(number(m) for m in got if m.topic.endswith("event/up")))


def test_refused_events_hold_up_nobody(bridge, mosquitto, mqtt):
    """The broker's rules deny one gateway its topics, and Mosquitto leaves a client that tries. Its events are counted as lost,
    once each, from the spool and past it; those of the others arrive."""
    gw, denied = bridge.gateway().pull(), bridge.gateway("0000000000000002").pull()
    mosquitto.stop()
    rules(mosquitto, f"deny eu868/gateway/{denied.id}/event/#")
    lw.wait_for(lambda: bridge.daemon.health()[0] == 503, text="health says that the broker is away")
    for i in range(20):
        gw.push(frame(i))
        denied.push(frame(1000 + i))
    lw.wait_for(lambda: bridge.daemon.metrics()["longwave_gb_spool_events"] == 40, text="everything in the spool")
    os.kill(bridge.daemon.pid, signal.SIGSTOP)
    mosquitto.start()
    mqtt.wait_subscribed()
    os.kill(bridge.daemon.pid, signal.SIGCONT)
    lw.wait_for(lambda: bridge.daemon.metrics()["longwave_gb_spool_events"] == 0, text="an empty spool")
    for i in range(20, 40):
        denied.push(frame(1000 + i))
        gw.push(frame(i))
    assert numbers(mqtt.take_until(lambda m: m.topic.endswith("event/up") and number(m) == 39)) == list(range(40))
    lw.wait_for(lambda: bridge.daemon.metrics()["longwave_gb_spool_lost_total"] == 40, text="the denied ones counted")
    assert bridge.daemon.metrics()["longwave_gb_spool_events"] == 0


def test_rules_that_deny_all_lose_nothing(bridge, mosquitto, mqtt):
    """An operator's mistake that lasts for a while: everything waits until it is mended, and keeps its order."""
    gws = [bridge.gateway(f"00000000000000{i:02x}").pull() for i in range(3)]
    mosquitto.stop()
    rules(mosquitto, "deny eu868/gateway/+/event/#")
    mosquitto.start()
    lw.wait_for(lambda: bridge.daemon.health()[0] == 200, text="health says that the broker is there")
    for i in range(30):
        gws[i % 3].push(frame(i))
    lw.wait_for(lambda: bridge.daemon.metrics()["longwave_gb_spool_events"] == 30, text="everything in the spool")
    bridge.daemon.wait_output("events wait: the broker does not allow us to publish them")
    denials = 'longwave_gb_mqtt_connects_total'
    n = bridge.daemon.metrics()[denials]
    lw.wait_for(lambda: bridge.daemon.metrics()[denials] >= n + 4, text="each gateway's topic was tried, and the first again")
    os.kill(bridge.daemon.pid, signal.SIGSTOP)
    mosquitto.stop()
    rules(mosquitto)
    mosquitto.start()
    mqtt.wait_subscribed()
    os.kill(bridge.daemon.pid, signal.SIGCONT)
    lw.wait_for(lambda: bridge.daemon.metrics()["longwave_gb_spool_events"] == 0, text="an empty spool")
    gws[0].push(frame(30))
    got = numbers(mqtt.take_until(lambda m: m.topic.endswith("event/up") and number(m) == 30))
    assert sorted(got) == list(range(31))
    for i in range(3):
        assert [n for n in got if n % 3 == i] == [n for n in range(31) if n % 3 == i]
    assert bridge.daemon.metrics()["longwave_gb_spool_lost_total"] == 0


def test_several_downlinks_in_flight(bridge, mqtt):
    gw = bridge.gateway().pull()
    mqtt.take("state/conn")
    # The last two differ only above the 16 bits of a token.
    ids = [1, 2, 3, 0x10000 + 3]
    for i in ids:
        mqtt.publish(f"eu868/gateway/{EUI}/command/down", command(i, n_items=2))
    tokens = [gw.pull_resp()[0] for _ in ids]
    assert len(set(tokens)) == len(ids) and tokens[:3] == ids[:3]
    for token, downlink_id in reversed(list(zip(tokens, ids))):
        gw.tx_ack(token, "TOO_LATE")
        again, _ = gw.pull_resp()
        assert again != token
        gw.tx_ack(token, "TOO_LATE")  # the network brings it twice: it is not the answer to the second
        gw.tx_ack(again)
        ack = json.loads(mqtt.take("event/ack").payload)
        assert ack == {"gatewayId": EUI, "downlinkId": downlink_id, "items": [{"status": "TOO_LATE"}, {"status": "OK"}]}
    gw.tx_ack(tokens[0])  # a second answer means nothing
    assert not Fence(bridge, mqtt, "json").events()


def test_downlink_goes_to_the_last_pull_data(bridge, mqtt):
    before = bridge.gateway().pull()
    after = bridge.gateway().pull()
    mqtt.take("state/conn")
    mqtt.publish(f"eu868/gateway/{EUI}/command/down", command(1))
    assert after.pull_resp() is not None
    assert Gateway.recv(before.down, 0) is None


@pytest.mark.config(udp={"tx_ack_timeout": "200ms"})
def test_silence_is_counted_and_not_reported(bridge, mqtt):
    gw = bridge.gateway().pull()
    mqtt.take("state/conn")
    mqtt.publish(f"eu868/gateway/{EUI}/command/down", command(1, n_items=2))
    token, _ = gw.pull_resp()
    lw.wait_for(lambda: drops(bridge, "GATEWAY_SILENT") == 1, text="the downlink is given up")
    gw.tx_ack(token)
    assert not Fence(bridge, mqtt, "json").events()
    assert Gateway.recv(gw.down, 0) is None, "the second window is not tried on silence"


def test_version_1(bridge, mqtt):
    gw = bridge.gateway(version=1).pull()
    mqtt.take("state/conn")
    gw.push(frame(3))
    assert number(mqtt.take("event/up")) == 3
    mqtt.publish(f"eu868/gateway/{EUI}/command/down", command(77))
    got = Gateway.recv(gw.down)
    assert got[:4] == b"\x01\x00\x00\x03"


def test_statistics_count_downlinks(bridge, mqtt):
    gw = bridge.gateway().pull()
    mqtt.take("state/conn")
    mqtt.publish(f"eu868/gateway/{EUI}/command/down", command(9, n_items=2))
    token, _ = gw.pull_resp()
    gw.tx_ack(token, "COLLISION_PACKET")
    gw.tx_ack(gw.pull_resp()[0])
    mqtt.take("event/ack")
    for want in (True, False):
        gw.push({"stat": {"time": "2024-05-01 12:00:00 GMT", "rxnb": 0, "rxok": 0, "dwnb": 2, "txnb": 1}})
        stats = json.loads(mqtt.take("event/stats").payload)
        assert stats["txPacketsReceived"] == 2 and stats["txPacketsEmitted"] == 1
        # Counted since the last report.
        assert stats.get("txPacketsPerStatus", {}) == ({"COLLISION_PACKET": 1, "OK": 1} if want else {})
        assert stats.get("txPacketsPerFrequency", {}) == ({"868300000": 1} if want else {})
        assert stats.get("txPacketsPerModulation", []) == ([{"count": 1, "modulation": {"lora": {
            "bandwidth": 125000, "spreadingFactor": 9, "codeRate": "CR_4_5", "polarizationInversion": True}}}] if want else [])


def test_position_beside_frames(bridge, mqtt):
    gw = bridge.gateway().pull()
    gw.push(dict(frame(1), stat={"lati": 52.5, "long": 4.25, "alti": 7}))
    up = json.loads(mqtt.take("event/up").payload)
    assert up["rxInfo"]["location"] == {"latitude": 52.5, "longitude": 4.25, "altitude": 7.0, "source": "GPS"}


def test_other_commands(bridge, mqtt):
    gw = bridge.gateway().pull()
    mqtt.take("state/conn")
    topic = f"eu868/gateway/{EUI}/command"
    mqtt.publish(f"{topic}/exec", json.dumps({"gatewayId": EUI, "command": "reboot", "execId": 123}))
    assert json.loads(mqtt.take("event/exec").payload) == {"gatewayId": EUI, "execId": 123, "error": "command does not exist"}
    for name in ("config", "raw", "mesh", "nonsense/x"):
        mqtt.publish(f"{topic}/{name}", "{}")
    mqtt.publish(f"{topic}/down", "not json")
    mqtt.publish(f"{topic}/down", command(5, gateway="0000000000000009"))  # for another gateway than the topic's
    mqtt.publish(f"{topic}/down", command(5, n_items=0))
    mqtt.publish(f"{topic}/down", command(5, n_items=30))
    Fence(bridge, mqtt, "json").commands()
    m = bridge.daemon.metrics()
    for name, n in (("config", 1), ("raw", 1), ("mesh", 1), ("other", 1), ("exec", 1), ("down", 5)):
        assert m[f'longwave_gb_commands_total{{command="{name}"}}'] == n
    assert drops(bridge, "MALFORMED") == 3 and drops(bridge, "TOO_LARGE") == 1
    assert Gateway.recv(gw.down, 0) is None


@pytest.mark.config(filters={"net_ids": ["000001"], "join_euis": ["0000000000000000-00000000000000ff"]})
def test_filters(bridge, mqtt):
    import base64
    gw = bridge.gateway().pull()
    data = [bytes.fromhex(h) for h in (
        "40a4f3010380290002a596112841",  # DevAddr 0301f3a4: NetID 000001
        "40a4f3010180290002a596112841",  # DevAddr 0101f3a4: NetID 000000
        "00010000000000000002000000000000000300040506" + "07",  # JoinEUI …01
        "00010000000000000102000000000000000300040506" + "07",  # JoinEUI 01…01
        "e0010203")]  # proprietary passes
    for d in data:
        gw.push({"rxpk": [dict(LORA, data=base64.b64encode(d).decode())]})
    fence = bridge.gateway()
    fence.push(dict(frame(0), stat={"rxnb": 1}))
    got = [base64.b64decode(json.loads(m.payload)["phyPayload"])
           for m in mqtt.take_until(lambda m: m.topic.endswith("event/stats")) if m.topic.endswith("event/up")]
    assert got == [data[0], data[2], data[4]]
    lw.wait_for(lambda: drops(bridge, "FILTERED") == 3, text="all filtered")


def test_drop_reasons(bridge, mqtt):
    gw = bridge.gateway().pull()
    bad = [("CRC_FAILED", {"stat": -1}), ("CRC_FAILED", {"stat": 0}), ("UNKNOWN_MODULATION", {"modu": "OOK"}),
           ("MALFORMED", {"datr": "SFxBW125"}), ("MALFORMED", {"data": "***"}), ("TOO_LARGE", {"data": "A" * 400})]
    gw.push({"rxpk": [dict(LORA, **change) for _, change in bad] + [LORA]})
    mqtt.take("event/up")
    gw.up.send(b"\x03" + bytes(11))
    lw.wait_for(lambda: drops(bridge, "UNSUPPORTED_VERSION") == 1, text="wrong version counted")
    for reason in {r for r, _ in bad}:
        assert drops(bridge, reason) == sum(r == reason for r, _ in bad)
    assert bridge.daemon.metrics()["longwave_gb_uplinks_total"] == 1


def rss_kb(pid):
    with open(f"/proc/{pid}/status") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("VmRSS"))


@pytest.mark.config(republish={"max_age": "0s"})  # keeps nothing on purpose
def test_garbage(bridge, mqtt):
    """100,000 datagrams of every kind of nonsense: counted, answered where the header is right, nothing grows."""
    rng = random.Random(1)
    gw = bridge.gateway().pull()
    mqtt.take("state/conn")
    good = gw.head(0) + json.dumps({"rxpk": [LORA, LORA], "stat": {"time": "x", "meta": {"a": "b"}}}).encode()

    def nonsense():
        kind = rng.randrange(4)
        if kind == 0:
            return rng.randbytes(rng.randrange(0, 600))
        data = bytearray(good)
        if kind == 1:
            return bytes(data[:rng.randrange(len(data))])
        for _ in range(rng.randrange(1, 8)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        return bytes(data)

    def round_of(n):
        for i in range(n):
            try:
                gw.up.send(nonsense())
            except OSError:
                pass
            if i % 200 == 0:  # keeps pace with the bridge, so that the kernel drops none
                gw.down.send(gw.head(2))
                while Gateway.recv(gw.down) is None:
                    pass

    def drained():
        mqtt.take_all()
        return bridge.daemon.metrics()["longwave_gb_mqtt_pending"] == 0

    round_of(20000)
    lw.wait_for(drained, text="broker has taken everything")
    before = rss_kb(bridge.daemon.pid)
    round_of(80000)
    lw.wait_for(drained, text="broker has taken everything")
    assert rss_kb(bridge.daemon.pid) < before + 4096
    gw.push(frame(42))
    mqtt.take_until(lambda m: m.topic.endswith("event/up") and number(m) == 42)
    assert drops(bridge, "MALFORMED") > 10000


def test_wrong_configuration(tmp_path, procs):
    for text, words in (("mqtt: {sever: x}", ("mqtt.sever", "mqtt.server")), ("listeners: []", ("listeners",)),
                        ("listeners: [{topic_prefix: 'a+'}]", ("topic_prefix",)),
                        ("filters: {net_ids: [xyz]}\nstate_dir: " + str(tmp_path), ("xyz",))):
        d = lw.Daemon("gateway-bridge", text, tmp_path)
        procs.append(d)
        d.start(wait=False)
        assert d.proc.wait(10) != 0
        assert all(w in d.output() for w in words), d.output()


def test_broker_away_at_start(tmp_path, procs):
    broker = lw.Mosquitto(tmp_path)
    procs.append(broker)
    bridge = Bridge(tmp_path, broker, procs, marshaler="json")
    gw = bridge.gateway().pull()
    gw.push(frame(1))
    broker.start()
    client = lw.Mqtt(broker.port, "#")
    assert number(client.take("event/up")) == 1
    assert retained_state(broker) == "ONLINE"
    assert os.path.exists(tmp_path / "state" / "spool.db")


@pytest.mark.parametrize("marshaler", ["protobuf", "json"])
def test_random_commands(tmp_path, mosquitto, procs, mqtt, marshaler):
    """30,000 command payloads, random or mutated: each ends in a counted drop or an answer, memory does not grow."""
    rng = random.Random(2)
    bridge = Bridge(tmp_path, mosquitto, procs, marshaler=marshaler, udp={"tx_ack_timeout": "200ms"})
    gw = bridge.gateway().pull()
    mqtt.take("state/conn")
    good = encode("gw.DownlinkFrame", json.loads(command(1, n_items=2)), marshaler == "json")
    good = good.encode() if isinstance(good, str) else good

    def round_of(n):
        for i in range(n):
            data = bytearray(good if rng.random() < 0.8 else rng.randbytes(rng.randrange(200)))
            for _ in range(rng.randrange(1, 6)):
                if data:
                    data[rng.randrange(len(data))] = rng.randrange(256)
            mqtt._client.publish(f"eu868/gateway/{EUI}/command/{'exec' if i % 10 == 0 else 'down'}", bytes(data), qos=1)
            if i % 500 == 499:
                fence.commands()
                mqtt.take_all()
                while Gateway.recv(gw.down, 0):
                    pass

    fence = Fence(bridge, mqtt, marshaler)
    round_of(10000)
    before = rss_kb(bridge.daemon.pid)
    round_of(20000)
    assert rss_kb(bridge.daemon.pid) < before + 8 * 1024
    assert drops(bridge, "MALFORMED") > 5000
    m = bridge.daemon.metrics()
    assert m['longwave_gb_commands_total{command="exec"}'] == 3000
