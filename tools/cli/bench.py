"""./longwave bench: what one machine carries, with everything on it: simulator, broker, stores, four daemons.

Method. Release build; a private stack as `./longwave up` starts it (SQLite, QoS 1, journal, synced as by default).
Devices are activated by personalisation and send 8 bytes every devices/rate seconds; each uplink is heard by two of 100 gateways
whose datagrams arrive within 50 ms of each other. An uplink counts when its JSON event reaches a subscriber of the
application's topic. Devices are first given time to settle (MAC commands). The rate is raised in steps; sustained is the highest step at which at least 99.5 % arrive, none twice,
and the 99th percentile beyond the deduplication window stays under a second. CPU is user + system time of each process over
a step, divided by the uplinks of that step. The broker's ceiling is measured in the same run: one publisher, one
subscriber, a payload of the same size, the same QoS. Machines are shared and noisy: quote ratios.
"""

import argparse
import json
import os
import subprocess
import tempfile
import time
from pathlib import Path

import build
import up
from machine import ROOT, Failed, install, say
from provision import Api, provision
from supervisor import Supervisor

TICK = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")
EVENT_BYTES = 1250  # an up event with two receptions


def cpu_s(pid):
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def rss_mb(pid):
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE / 1e6


def ceiling(tool, server, qos, size, seconds):
    sub = subprocess.Popen([tool, "sub", server, str(qos), str(size), str(seconds + 2)], stdout=subprocess.PIPE, text=True)
    time.sleep(0.5)
    subprocess.run([tool, "pub", server, str(qos), str(size), str(seconds)], stdout=subprocess.DEVNULL, check=True)
    return float(sub.communicate()[0])


def step(sim, base, rate, seconds, pids):
    report = tempfile.mktemp(suffix=".json")
    before = {n: cpu_s(pid) for n, pid in pids.items()}
    peak = {n: 0.0 for n in pids}
    proc = subprocess.Popen([str(sim), *base, "--rate", str(rate), "--duration", str(seconds), "--settle", "4", "--quiet",
                             "--report", report])
    while proc.poll() is None:
        for n, pid in pids.items():
            peak[n] = max(peak[n], rss_mb(pid))
        try:
            proc.wait(0.5)
        except subprocess.TimeoutExpired:
            pass
    with open(report) as f:
        r = json.load(f)
    os.unlink(report)
    n = max(1, r["delivered"])
    r["cpu_us"] = {name: (cpu_s(pid) - before[name]) * 1e6 / n for name, pid in pids.items()}
    r["rss_mb"] = peak
    r["rate"] = rate
    late = r.get("latency_ms", {"p99": 1e9})["p99"] - r.get("window_ms", 200)
    r["sustained"] = r["delivered"] >= 0.995 * r["accepted"] and r["accepted"] >= 0.98 * r["uplinks"] and \
        r["duplicates"] == 0 and late < 1000 and r["uplinks"] >= 0.95 * rate * seconds
    return r


def print_step(r):
    lat, w = r.get("latency_ms", {}), r.get("window_ms", 200)
    total, n_up = sum(r["cpu_us"].values()), max(1, r["delivered"])
    print(f"  {r['rate']:6d}/s  delivered {r['delivered']:7d} of {r['accepted']:7d} accepted  twice {r['duplicates']}  missing {r['missing']}"
          f"  beyond the window p50 {lat.get('p50', 0) - w:6.1f} ms p99 {lat.get('p99', 0) - w:7.1f} ms  CPU {total:5.0f} us/uplink"
          f"  {'sustained' if r['sustained'] else 'NOT sustained'}")
    print("            CPU, % of a core: " + "  ".join(f"{n} {v * n_up / r['seconds'] / 1e4:.0f}" for n, v in r["cpu_us"].items()), flush=True)


def main(_verb, args):
    p = argparse.ArgumentParser(prog="./longwave bench")
    p.add_argument("--rates", default="500,1000,2000,3000,4000,5000,6000,8000,10000,12000")
    p.add_argument("--seconds", type=int, default=10)
    p.add_argument("--devices", type=int, default=3000)
    p.add_argument("--offset", type=int, default=21000)
    p.add_argument("--build-dir")
    opt = p.parse_args(args)
    if opt.build_dir:
        out = Path(opt.build_dir).resolve()
    else:
        install("build", "run", "test")
        out = build.cmake("bench", *[f"longwave-{d}" for d in build.DAEMONS], "longwave-sim", "longwave-broker-ceiling")
    sim = out / "bin" / "longwave-sim"
    ports = {name: port + opt.offset for name, port in up.PORTS.items()}
    listeners = [("eu868", ports["udp"])]
    work = tempfile.TemporaryDirectory(prefix="longwave-bench-")
    state = Path(work.name)
    state.chmod(0o711)
    for folder in ("mosquitto", "redis", "log", "gateway-bridge", "network-server", "app-server"):
        (state / folder).mkdir()
    if os.geteuid() == 0:
        import shutil
        shutil.chown(state / "mosquitto", "mosquitto")
    up.check_ports(ports, listeners, "127.0.0.1")
    password, _ = up.first_password(state)
    conf = up.write_configs(state, ports, "127.0.0.1", listeners, None)
    print(__doc__)
    print(f"machine: {os.cpu_count()} cores, {os.uname().release}; commit "
          + subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True).stdout.strip())
    sup = Supervisor(say)
    try:
        for process in up.processes(state, conf, out, ports, password):
            sup.start(process)
        pids = {q.name.removeprefix("longwave-"): q.proc.pid for q in sup.processes}
        daemons = [f for f in pids if f in build.DAEMONS]
        time.sleep(3)
        idle = {n: rss_mb(pids[n]) for n in daemons}
        print("\nidle RSS, MB: " + "  ".join(f"{n} {v:.1f}" for n, v in idle.items()) + f"  together {sum(idle.values()):.1f}")
        base = ["--gateways", "100", "--copies", "2", "--devices", str(opt.devices), "--abp", "--seed", "3", "--server",
                f"127.0.0.1:{ports['udp']}"]
        api = Api("127.0.0.1", ports["http"])
        api.login("admin", password)
        began = time.monotonic()
        provision(api, sim, base, application="bench")
        print(f"registered and activated {opt.devices} devices in {time.monotonic() - began:.1f} s over REST")
        server = f"tcp://127.0.0.1:{ports['mqtt']}"
        top = ceiling(str(out / "bin" / "longwave-broker-ceiling"), server, 1, EVENT_BYTES, 5)
        print(f"broker's ceiling, QoS 1, {EVENT_BYTES} bytes, 1 publisher, 1 subscriber: {top:.0f} messages/s\n")
        # New devices are told channels and rates by MAC commands; what is measured is a network that has settled.
        print("settling: five uplinks of each device")
        step(sim, base, opt.devices // 6, 31, pids)
        best, results, f_cnt = None, [], 16
        for rate in map(int, opt.rates.split(",")):
            r = step(sim, [*base, "--mqtt", server, "--f-cnt", str(f_cnt)], rate, opt.seconds, pids)
            results.append(r)
            f_cnt += rate * opt.seconds // opt.devices + 10
            print_step(r)
            if r["sustained"]:
                best = r
            elif best is not None or rate >= 2000:
                break
        if best is None:
            raise Failed("no rate was sustained")
        print(f"\nsustained: {best['rate']} uplinks/s, {best['rate'] / top:.2f} of the broker's ceiling")
        print("CPU, us per uplink: " + "  ".join(f"{n} {v:.0f}" for n, v in best["cpu_us"].items())
              + f"  together {sum(best['cpu_us'].values()):.0f}")
        print("RSS under load, MB: " + "  ".join(f"{n} {best['rss_mb'][n]:.1f}" for n in daemons)
              + f"  together {sum(best['rss_mb'][n] for n in daemons):.1f}")
        (ROOT / "build" / "bench.json").write_text(json.dumps({"ceiling": top, "idle_rss_mb": idle, "steps": results}, indent=1))
    finally:
        sup.stop()
        work.cleanup()
    return 0
