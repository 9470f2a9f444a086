"""The gateway-bridge alone: frames a second, and what one costs."""

import subprocess
import time

from benches import Row

TITLE = """bridge alone, frames/s and CPU per frame at QoS 0 (and 1)
   Broker, bridge, one subscriber of its events; longwave-bridge-load sends PUSH_DATA with one frame each from 100 gateways with an address
   of their own, at most 1,024 without their PUSH_ACK: as fast as the bridge takes them, then at 12,000/s. Frames are those that the bridge
   published; CPU is the bridge's own. The broker's ceiling in the same run, at QoS 0 and 200 bytes, is what bounds it: who is at the
   limit shows in the shares of a core."""
DEFAULT, ORDER = True, 20
TARGETS = ["longwave-bridge-load"]
BYTES = 200  # an UplinkFrame
ROWS = [
    Row("bridge_frames", "bridge alone, frames/s at QoS 0", "/s", reference="32,000"),
    Row("bridge_cpu", "CPU per frame", "µs", 8, 4, more=False, reference="38–49 µs"),
]


def one(ctx, qos, rate, seconds):
    with ctx.stack({"gateway-bridge": {"mqtt.qos": qos}}, daemons=["gateway-bridge"]) as s:
        top = ctx.ceiling(s, 0, BYTES)
        sub = subprocess.Popen([ctx.out / "bin" / "longwave-broker-ceiling", "sub", s.mqtt, str(qos), str(BYTES), str(seconds + 3),
                                "eu868/gateway/+/event/up"], stdout=subprocess.DEVNULL)
        time.sleep(0.5)
        with s.measure() as m:
            subprocess.run([ctx.out / "bin" / "longwave-bridge-load", str(s.ports["udp"]), str(seconds), str(rate)], check=True,
                           stdout=subprocess.DEVNULL)
            time.sleep(0.5)
        sub.wait()
        n = m.series("gateway-bridge", "mqtt_published_total").get('{event="up"}', 0)
        r = {"qos": qos, "frames_s": n / seconds, "cpu_us": m.cpu_s["gateway-bridge"] * 1e6 / max(1, n),
             "broker_us": m.cpu_s["mosquitto"] * 1e6 / max(1, n), "wakes": m.wakes["gateway-bridge"] / max(1, n), "ceiling": top,
             "core": {k: m.cpu_s[k] / seconds for k in ("gateway-bridge", "mosquitto")}}
    print(f"  QoS {qos}{f' at {rate}/s' if rate else ', as fast as it goes'}: {r['frames_s']:.0f} frames/s, CPU {r['cpu_us']:.1f} us per frame"
          f" (broker {r['broker_us']:.1f}), {r['wakes']:.2f} wakes per frame; of a core: bridge {r['core']['gateway-bridge'] * 100:.0f} %, broker"
          f" {r['core']['mosquitto'] * 100:.0f} %", flush=True)
    return r


def run(ctx):
    seconds = max(5, ctx.opt.seconds // 2)
    fast = one(ctx, 0, 0, seconds)
    ctx.data["runs"] = [fast, one(ctx, 1, 0, seconds), one(ctx, 1, 12000, seconds)]
    ctx.put("bridge_frames", fast["frames_s"], f"{fast['frames_s'] / fast['ceiling']:.2f} of the broker's ceiling, {fast['ceiling']:.0f}",
            least=fast["ceiling"], aim=fast["ceiling"])
    ctx.put("bridge_cpu", fast["cpu_us"], f"at QoS 1 {ctx.data['runs'][1]['cpu_us']:.1f} µs, and {ctx.data['runs'][2]['cpu_us']:.1f} µs at 12,000/s")
