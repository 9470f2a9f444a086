"""For try.sh: registers a simulated device, sends its frames through the published UDP port, and checks that the join, the
uplinks and a queued downlink reach the application's topic as they should. Arguments: the simulator, the compose command."""

import base64
import json
import os
import subprocess
import sys
import threading
import urllib.request
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools/cli"))

from machine import Failed, main_guard  # noqa: E402
from provision import Api, provision  # noqa: E402

WAIT_S = 90
PAYLOAD = base64.b64encode(b"\x01\x02").decode()


def subscribe(compose):
    """Events as the broker's user "application" reads them, who may read nothing else."""
    script = ('exec stdbuf -oL mosquitto_sub -h 127.0.0.1 -u application -P "$LONGWAVE_MQTT_APPLICATION_PASSWORD" '
              f"-t 'application/+/device/+/event/+' -d -v -W {WAIT_S}")
    proc = subprocess.Popen([*compose, "exec", "-T", "mosquitto", "sh", "-c", script], stdout=subprocess.PIPE,
                            stdin=subprocess.DEVNULL, text=True)
    # Nothing is sent before the broker has the subscription.
    if not any(line.startswith("Subscribed") for line in proc.stdout):
        raise Failed("the broker does not let the user application subscribe")
    return proc


def collect(lines, wanted):
    found = {}
    for line in lines:
        if not line.startswith("application/"):
            continue
        topic, _, text = line.partition(" ")
        name, event = topic.rsplit("/", 1)[1], json.loads(text)
        print(f"try: {topic}", flush=True)
        if name == "up" and len(event.get("rxInfo", [])) != 2:
            continue
        found.setdefault(name, (topic, event))
        if wanted <= found.keys():
            break
    return found


def main():
    sim, compose = sys.argv[1], sys.argv[2:]
    argv = ["--gateways", "2", "--copies", "2", "--devices", "1", "--rate", "0.4", "--join-spread", "1", "--seed", "5"]
    api = Api("127.0.0.1", int(os.environ["LONGWAVE_HTTP_PORT"]))
    api.login("admin", os.environ["LONGWAVE_ADMIN_PASSWORD"])
    made = provision(api, sim, argv, application="try")
    eui = made["devices"][0]["device"]
    with urllib.request.urlopen(f"http://127.0.0.1:{os.environ['LONGWAVE_HTTP_PORT']}/", timeout=10) as page:
        if "<html" not in page.read(4096).decode().lower():
            raise Failed("no web UI at /")
    print(f"try: registered device {eui} and {len(made['gateways'])} gateways", flush=True)
    subscriber = subscribe(compose)
    traffic = subprocess.Popen([sim, *argv, "--server", f"127.0.0.1:{os.environ['LONGWAVE_UDP_PORT']}", "--duration", "75", "--quiet"],
                               stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
    queue = threading.Timer(12, lambda: api.call("POST", f"/api/devices/{eui}/queue", {
        "queueItem": {"devEui": eui, "fPort": 10, "data": PAYLOAD}}))
    queue.start()
    try:
        found = collect(subscriber.stdout, {"join", "up", "txack"})
    finally:
        queue.cancel()
        subscriber.terminate()
        traffic.terminate()
        traffic.wait()
    missing = {"join", "up", "txack"} - found.keys()
    if missing:
        raise Failed(f"no {' and no '.join(sorted(missing))} event within {WAIT_S} s")
    topic, up = found["up"]
    if up["deviceInfo"]["devEui"] != eui or topic.split("/")[1] != made["application"] or not up["data"]:
        raise Failed(f"not our uplink: {topic} {up}")
    print(f"{topic}\n{json.dumps(up, indent=1)}")
    print("try: passed: web UI served, joined, one event with two rxInfo, a queued downlink went out")
    return 0


sys.exit(main_guard(main))
