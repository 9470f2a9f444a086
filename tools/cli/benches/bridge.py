"""The gateway-bridge alone: frames a second, and what one costs."""

import os
import subprocess
import time

from benches import Row
from benches._stack import cpu_s as stack_cpu_s

TITLE = """bridge alone, frames/s and CPU per frame at QoS 0 (and 1)
   Broker, bridge, one subscriber of its events; longwave-bridge-load sends PUSH_DATA with one frame each from 100 gateways with an address
   of their own, four in a row, at most 1,024 without their PUSH_ACK. The broker's ceiling in the same run, with the topics and the payload
   that the bridge publishes (mean of before and after), is what bounds it: reached when as much arrives, or when the broker was busy for
   97 % of the time, so that nothing else was the limit. First 1.1 times that is offered (frames/s: what the subscriber got), then 0.8 times
   (CPU: nothing is shed); then the same without anything in a row, from 1,000 gateways; then 12,000/s at QoS 1. CPU of each process is
   divided by the frames that the bridge published."""
DEFAULT, ORDER = True, 20
TARGETS = ["longwave-bridge-load"]
TOPICS = "eu868/gateway/+/event/up"
FULL = 0.97  # of the time: the broker's core has nothing left
BYTES = 96  # the UplinkFrame of a frame of longwave-bridge-load, on average
ROWS = [
    Row("bridge_frames", "bridge alone, frames/s at QoS 0", "/s", reference="32,000"),
    Row("bridge_cpu", "CPU per frame", "µs", 8, 4, more=False, reference="38–49 µs"),
]


def cpu_s(process):
    """Waits for its end; user and system time."""
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, process.args)
    return usage.ru_utime + usage.ru_stime


def broker_busy(pid, seconds):
    """Share of a core that the broker (one thread) has in the middle of a run which has just begun."""
    time.sleep(1)
    before, began = stack_cpu_s(pid), time.monotonic()
    time.sleep(seconds - 2)
    return (stack_cpu_s(pid) - before) / (time.monotonic() - began)


def one(ctx, qos, seconds, share=0.0, rate=0, gateways=100, train=4, again=False):
    """Offers `rate`, or a share of the broker's ceiling; `again`: that is measured once more after it, and the mean taken."""
    with ctx.stack({"gateway-bridge": {"mqtt.qos": qos}}, daemons=["gateway-bridge"]) as s:
        top = ctx.ceiling(s, 0, BYTES, TOPICS)
        rate = rate or int(share * top)
        sub = subprocess.Popen([ctx.out / "bin" / "longwave-broker-ceiling", "sub", s.mqtt, str(qos), str(BYTES), str(seconds + 3), TOPICS],
                               stdout=subprocess.PIPE, text=True)
        time.sleep(0.5)
        with s.measure() as m:
            load = subprocess.Popen([ctx.out / "bin" / "longwave-bridge-load", str(s.ports["udp"]), str(seconds), str(rate), str(gateways),
                                     str(train)], stdout=subprocess.DEVNULL)
            busy = broker_busy(s.pids["mosquitto"], seconds)
            used = {"generator": cpu_s(load)}
            time.sleep(0.5)
        got, size = (float(v) for v in sub.stdout.read().split())
        used["subscriber"] = cpu_s(sub)
        top = (top + s.ceiling(0, BYTES, topics=TOPICS)) / 2 if again else top
        if abs(size - BYTES) > 4:
            raise RuntimeError(f"the bridge's payloads have {size:.0f} bytes and not {BYTES}: set BYTES")
        n = m.series("gateway-bridge", "mqtt_published_total").get('{event="up"}', 0)
        shed = sum(m.series("gateway-bridge", "dropped_total").values())
        used.update({"bridge": m.cpu_s["gateway-bridge"], "broker": m.cpu_s["mosquitto"]})
        r = {"qos": qos, "offered": rate, "gateways": gateways, "train": train, "frames_s": got, "ceiling": top, "shed": shed, "busy": busy,
             "us": {k: v * 1e6 / max(1, n) for k, v in used.items()}, "core": {k: v / seconds for k, v in used.items()},
             "wakes": m.wakes["gateway-bridge"] / max(1, n)}
    print(f"  QoS {qos}, {rate}/s offered by {gateways} gateways, {train} in a row: {got:.0f} frames/s arrive, {shed:.0f} of"
          f" {n + shed:.0f} shed; CPU per frame " + ", ".join(f"{k} {v:.1f} us ({r['core'][k] * 100:.0f} %)" for k, v in r["us"].items())
          + f", {r['wakes']:.3f} wakes; broker busy for {busy:.2f} of the time", flush=True)
    return r


def run(ctx):
    seconds = max(5, ctx.opt.seconds // 2)
    fast, calm, spread, safe = ctx.data["runs"] = [
        one(ctx, 0, seconds, share=1.1, again=True), one(ctx, 0, seconds, share=0.8), one(ctx, 0, seconds, share=0.8, gateways=1000, train=1),
        one(ctx, 1, seconds, rate=12000)]
    # A broker that is never idle is at its ceiling; a message costs it some percent more while the other core works, too.
    ctx.put("bridge_frames", fast["frames_s"], f"{fast['frames_s'] / fast['ceiling']:.2f} of what the broker carries alone, {fast['ceiling']:.0f}; here"
            f" it is busy for {fast['busy'] * 100:.0f} % of the time, the bridge for {fast['core']['bridge'] * 100:.0f} %", least=fast["ceiling"],
            aim=fast["ceiling"], reached="the broker is full" if fast["busy"] >= FULL else None)
    ctx.put("bridge_cpu", calm["us"]["bridge"], f"at {calm['frames_s']:.0f}/s; from 1,000 gateways, none twice in a row,"
            f" {spread['us']['bridge']:.1f} µs; at QoS 1 and 12,000/s {safe['us']['bridge']:.1f} µs")
