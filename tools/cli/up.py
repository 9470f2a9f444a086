"""./longwave up: the whole network on this machine, from one command, until Ctrl-C."""

import argparse
import os
import secrets
import shutil
import socket
import urllib.request
from pathlib import Path

import build
from machine import ROOT, Failed, install, say
from supervisor import Process, Supervisor

PORTS = {"udp": 1700, "mqtt": 1883, "redis": 6379, "http": 8080, "grpc": 8081, "ns": 8000, "join": 8003, "geo": 8005,
         "gateway-bridge": 9101, "network-server": 9102, "app-server": 9103, "geo-server": 9104}


def parse(args):
    p = argparse.ArgumentParser(prog="./longwave up", description=__doc__)
    p.add_argument("--demo", action="store_true", help="add simulated gateways and devices")
    p.add_argument("--state", default="state", metavar="DIR", help="databases, queues, logs (state)")
    p.add_argument("--offset", type=int, default=0, metavar="N", help="added to every port")
    p.add_argument("--region", action="append", default=[], metavar="ID:PORT", help="one more UDP listener, e.g. us915_0:1701")
    p.add_argument("--bind", default="0.0.0.0", metavar="ADDRESS", help="where gateways and browsers come in (0.0.0.0)")
    p.add_argument("--demo-devices", type=int, default=20, help=argparse.SUPPRESS)
    p.add_argument("--build-dir", help=argparse.SUPPRESS)
    p.add_argument("--no-ui", action="store_true", help=argparse.SUPPRESS)
    return p.parse_args(args)


def check_ports(ports, listeners, bind):
    taken = []
    for name, port in ports.items():
        if name == "udp":
            continue
        with socket.socket() as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                s.bind(("127.0.0.1", port))
            except OSError:
                taken.append(f"{port} ({name})")
    for region, port in listeners:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            try:
                s.bind((bind, port))
            except OSError:
                taken.append(f"{port}/udp ({region})")
    if taken:
        raise Failed("these ports are in use: " + ", ".join(taken) + "; another offset avoids them: --offset 1000")


def listeners_of(opt):
    found = [("eu868", 1700 + opt.offset)]
    for text in opt.region:
        region, _, port = text.partition(":")
        if not region or not port.isdigit() or int(port) + opt.offset > 65535:
            raise Failed(f"--region wants ID:PORT, for example us915_0:1701, not {text!r}")
        found.append((region, int(port) + opt.offset))
    return found


def first_password(state):
    """Made once; the file is for the owner's eyes. What is in the environment wins."""
    path = state / "admin-password"
    given = os.environ.get("LONGWAVE_ADMIN_PASSWORD")
    if given:
        return given, False
    if path.exists():
        return path.read_text().strip(), True
    password = secrets.token_urlsafe(12)
    path.touch(mode=0o600)
    path.write_text(password + "\n")
    return password, False


def write_configs(state, p, bind, listeners, ui_dir):
    """One file per process; what is not named has its default."""
    conf = state / "config"
    conf.mkdir(exist_ok=True)
    mqtt = f"mqtt:\n  server: tcp://127.0.0.1:{p['mqtt']}\n"
    redis = f"redis:\n  url: redis://127.0.0.1:{p['redis']}\n"
    lines = "".join(f"  - name: {r}\n    bind: \"{bind}:{n}\"\n    topic_prefix: {r}\n" for r, n in listeners)

    def metrics(name):
        return f"metrics:\n  bind: 127.0.0.1:{p[name]}\n"

    files = {
        "mosquitto.conf": f"listener {p['mqtt']} 127.0.0.1\nallow_anonymous true\npersistence true\n"
                          f"persistence_location {state}/mosquitto/\nautosave_interval 60\nmax_queued_messages 0\n"
                          "max_inflight_messages 0\nset_tcp_nodelay true\nlog_dest stderr\nlog_type error\nlog_type warning\n",
        "redis.conf": f"bind 127.0.0.1\nport {p['redis']}\ndir {state}/redis\nsave \"\"\nappendonly no\n"
                      "maxmemory 128mb\nmaxmemory-policy allkeys-lru\nloglevel warning\n"
                      "disable-thp no\n",  # it never forks: nothing is saved
        "gateway-bridge.yaml": metrics("gateway-bridge") + mqtt + f"state_dir: {state}/gateway-bridge\nlisteners:\n" + lines,
        "network-server.yaml": metrics("network-server") + mqtt + redis + f"state_dir: {state}/network-server\n"
                               f"database:\n  dsn: sqlite://{state}/ns.db\ngrpc:\n  bind: 127.0.0.1:{p['ns']}\n"
                               f"join_server:\n  url: http://127.0.0.1:{p['join']}\ngeo:\n  address: 127.0.0.1:{p['geo']}\n",
        "app-server.yaml": metrics("app-server") + mqtt + redis + f"state_dir: {state}/app-server\ndatabase:\n  dsn: sqlite://{state}/app.db\n"
                           f"http:\n  bind: {bind}:{p['http']}\ngrpc:\n  bind: {bind}:{p['grpc']}\n"
                           f"join:\n  bind: 127.0.0.1:{p['join']}\nnetwork_server:\n  address: 127.0.0.1:{p['ns']}\n"
                           + (f"ui:\n  dir: {ui_dir}\n" if ui_dir else ""),
        "geo-server.yaml": metrics("geo-server") + f"bind: 127.0.0.1:{p['geo']}\n",
    }
    for name, text in files.items():
        (conf / name).write_text(text)
    return conf


def healthy(port):
    def ask():
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2) as r:
                return r.status == 200
        except OSError:
            return False
    return ask


def connects(port):
    def ask():
        with socket.socket() as s:
            s.settimeout(1)
            return s.connect_ex(("127.0.0.1", port)) == 0
    return ask


def mosquitto():
    return shutil.which("mosquitto") or "/usr/sbin/mosquitto"


def processes(state, conf, out, p, password):
    logs = state / "log"
    env = dict(os.environ, LONGWAVE_APP_SERVER__ADMIN_PASSWORD=password)

    def daemon(name):
        binary = out / "bin" / f"longwave-{name}"
        return Process(f"longwave-{name}", [str(binary), "-c", str(conf / f"{name}.yaml")], healthy(p[name]),
                       logs / f"{name}.log", env=env if name == "app-server" else None, cwd=state)

    return [
        Process("mosquitto", [mosquitto(), "-c", str(conf / "mosquitto.conf")], connects(p["mqtt"]), logs / "mosquitto.log"),
        Process("redis", ["redis-server", str(conf / "redis.conf")], connects(p["redis"]), logs / "redis.log",
                env={**os.environ, "MALLOC_CONF": "thp:always"}),
        daemon("geo-server"),
        daemon("network-server"),
        daemon("app-server"),
        daemon("gateway-bridge"),
    ]


def demo_argv(opt, listeners):
    return ["--gateways", "4", "--devices", str(opt.demo_devices), "--rate", str(opt.demo_devices / 6), "--fine", "--confirmed",
            "0.1", "--seed", "7", "--server", f"127.0.0.1:{listeners[0][1]}", "--quiet"]


def start_demo(opt, state, out, p, password, listeners, sup):
    from provision import Api, provision
    sim = out / "bin" / "longwave-sim"
    argv = demo_argv(opt, listeners)
    say("registering simulated gateways and devices")
    api = Api("127.0.0.1", p["http"])
    api.login("admin", password)
    provision(api, sim, argv)
    demo = Process("longwave-sim", [str(sim), *argv, "--report", str(state / "log" / "sim.json")], lambda: True,
                   state / "log" / "sim.log")
    sup.start(demo)


def banner(opt, p, listeners, password, known, state):
    shown = "127.0.0.1" if opt.bind == "0.0.0.0" else opt.bind
    print()
    print("Longwave is up." + (" (with simulated traffic)" if opt.demo else ""))
    print()
    print(f"  URL:      http://{shown}:{p['http']}/")
    print("  user:     admin")
    print(f"  password: {password}" + ("    (as at the first start, unless you changed it)" if known else ""))
    print()
    for region, port in listeners:
        print(f"  gateways: UDP {port} ({region})")
    print(f"  MQTT:     127.0.0.1:{p['mqtt']}    application/+/device/+/event/up")
    print(f"  gRPC:     {shown}:{p['grpc']}     REST: http://{shown}:{p['http']}/api")
    print(f"  logs:     {state}/log")
    print()
    print("Ctrl-C ends it.", flush=True)


def main(_verb, args):
    opt = parse(args)
    listeners = listeners_of(opt)
    p = {name: port + opt.offset for name, port in PORTS.items()}
    if max(p.values()) > 65535:
        raise Failed("--offset is too large")
    state = Path(opt.state).resolve()
    if opt.build_dir:
        out = Path(opt.build_dir).resolve()
    else:
        install("build", "run")
        out = build.cmake("release", *[f"longwave-{d}" for d in build.DAEMONS], "longwave-sim", "lw-openapi")
    ui_dir = None if opt.no_ui else build.ui(out)
    os.umask(0o077)  # databases and configurations hold keys
    for folder in ("mosquitto", "redis", "log", "gateway-bridge", "network-server", "app-server"):
        (state / folder).mkdir(parents=True, exist_ok=True)
    state.chmod(0o700)
    if os.geteuid() == 0:  # mosquitto gives up root; its folder must be its own
        state.chmod(0o711)
        try:
            shutil.chown(state / "mosquitto", "mosquitto")
        except LookupError:
            pass
    check_ports(p, listeners, opt.bind)
    password, known = first_password(state)
    conf = write_configs(state, p, opt.bind, listeners, ui_dir)
    say("starting")
    sup = Supervisor(say)
    try:
        for process in processes(state, conf, out, p, password):
            if not sup.start(process):
                return 0
        if opt.demo and not sup.stopping:
            start_demo(opt, state, out, p, password, listeners, sup)
        if not sup.stopping:
            banner(opt, p, listeners, password, known, state)
        sup.run()
    except RuntimeError as e:
        raise Failed(str(e)) from None
    finally:
        say("stopping")
        sup.stop()
    return 0
