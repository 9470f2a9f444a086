"""./longwave backup while everything runs, everything lost, ./longwave restore into an empty folder, and the same devices go on:
no device joins again, no downlink counter comes twice, a used DevNonce stays used."""

import base64
import contextlib
import hashlib
import io
import json
import os
import shutil
import socket
import subprocess
import sys
import tarfile
from types import SimpleNamespace

import pytest

from lw.gateway import Gateway, payload
from lw.procs import ROOT, Process, build_dir
from lw.rest import Rest
from lw.rpc import Rpc
from lw.stack import Events, Stack, World

sys.path.insert(0, str(ROOT / "tools" / "cli"))
import up  # noqa: E402

LONGWAVE = str(ROOT / "longwave")
JUMP = 4096


def free_offset():
    """One that leaves all ports of `up` free. Another process may take one meanwhile: then `up` says so and the test fails by name."""
    for offset in range(9000 + os.getpid() % 500, 50000, 37):
        try:
            with contextlib.ExitStack() as s:
                for name, port in up.PORTS.items():
                    kind = socket.SOCK_DGRAM if name == "udp" else socket.SOCK_STREAM
                    s.enter_context(socket.socket(socket.AF_INET, kind)).bind(("127.0.0.1", port + offset))
                return offset
        except (OSError, OverflowError):
            pass
    raise AssertionError("no free ports")


class Instance:
    """`./longwave up` in a process of its own, as an operator has it; offers what World asks of a stack."""

    frames, wait_frame = Stack.frames, Stack.wait_frame

    def __init__(self, state, offset, log):
        self.port = {n: p + offset for n, p in up.PORTS.items()}
        self.udp = {"eu868": self.port["udp"]}
        self.mosquitto = SimpleNamespace(port=self.port["mqtt"])
        self.process = Process([LONGWAVE, "up", "--state", state, "--offset", offset, "--build-dir", build_dir(), "--no-ui", "--bind",
                                "127.0.0.1"], log).start()
        self.process.wait_output(r"^Longwave is up\.", 60)
        self.rest = Rest(f"http://127.0.0.1:{self.port['http']}").login("admin", (state / "admin-password").read_text().strip())
        self.events, self.ns_api = Events(self.port["mqtt"]), Rpc(self.port["ns"])

    def stop(self):
        self.ns_api.close()
        self.events.close()
        self.process.stop(40)


@pytest.fixture
def instances():
    made = []

    def start(*args):
        made.append(Instance(*args))
        return made[-1]

    yield start
    for i in made:
        if i.process.running():
            i.stop()


def longwave(*args, ok=True):
    p = subprocess.run([LONGWAVE, *map(str, args), "--build-dir", str(build_dir())], capture_output=True, text=True, timeout=60)
    assert (p.returncode == 0) == ok, p.stdout + p.stderr
    return p.stdout + p.stderr


def hears(world, gw, d, data, answers=True):
    """Uplinks until the device hears this. Others may come first: MAC commands, items that the backup had as not sent yet. An item whose
    counters have passed is encrypted anew and goes out with the next uplink. Without `answers` the gateway says nothing to a PULL_RESP."""
    take = (lambda: gw.next_txpk(2)) if answers else (lambda: gw.next_offer(2)[0])
    gw.refuse = lambda txpk: None if answers else False
    for _ in range(8):
        world.send(d, gw, data=b"?")
        try:
            phy = payload(take())
            while phy[1:5] != d.dev_addr.to_bytes(4, "little"):  # a late one for another device
                phy = payload(take())
        except AssertionError:
            continue
        down = d.downlink(phy)
        if down.data == data:
            return down
    raise AssertionError(f"{d.dev_eui} does not hear {data!r}; queue: {world.queue(d)}")


def answered(world, gw, d, data):
    world.enqueue(d, data)
    return hears(world, gw, d, data)


def uplink_arrives(world, gw, d, text):
    """Its event: the payload in the clear, the device's counter."""
    before = len(world.stack.events.of(d.dev_eui, "up"))
    world.send(d, gw, data=text)
    got = world.stack.events.wait(d.dev_eui, "up", before + 1)
    assert (base64.b64decode(got["data"]), got["fCnt"]) == (text, d.f_cnt_up - 1)


@pytest.mark.only_store("sqlite")  # where ./longwave up keeps its databases
def test_goes_on_with_the_same_devices(tmp_path, instances):
    state, file, offset = tmp_path / "state", tmp_path / "backup.tar.gz", free_offset()
    first = instances(state, offset, tmp_path / "first.log")
    world = World(first)
    gw = world.gateway()
    v10, v11, abp, again = world.device(), world.device("1.1.0"), world.device(otaa=False), world.device("1.1.0")
    for d in (v10, v11, again):
        world.join(d, gw)
        if d.is_11:
            world.send(d, gw, data=b"rekey")
            d.downlink(payload(gw.next_txpk()))  # RekeyConf
    alive = (v10, v11, abp)
    for d in alive:
        uplink_arrives(world, gw, d, b"before")
        answered(world, gw, d, b"before")
    waits = world.device(otaa=False)  # has sent nothing yet: no window in which the item could go out at once
    world.enqueue(waits, b"waits")
    unheard = world.device(otaa=False)  # the gateway never says that it was sent
    world.enqueue(unheard, b"unheard")
    last_unheard = hears(world, gw, unheard, b"unheard", answers=False).f_cnt

    longwave("backup", file, "--state", state)
    assert file.stat().st_mode & 0o077 == 0, "it holds keys"

    # The network goes on: what happens now is forgotten by the restore, and its counters must not come again.
    before = hears(world, gw, waits, b"waits")
    last = {d: max(answered(world, gw, d, b"after %d" % n).f_cnt for n in range(3)) for d in alive}
    world.join(again, gw)  # a JoinNonce that the restored join server does not know of
    world.close()
    first.stop()
    shutil.rmtree(state)

    assert f"6 sessions and the JoinNonces of 3 devices went ahead by {JUMP}" in longwave("restore", file, "--state", state)
    second = instances(state, offset, tmp_path / "second.log")
    world.stack, world.rest = second, second.rest
    gw = Gateway(gw.id, second.udp["eu868"])
    world.gateways = [gw]

    # What waited at the time of the backup is still to be sent: the device hears it a second time, with a new counter.
    assert [base64.b64decode(i["data"]) for i in world.queue(waits)] == [b"waits"]
    assert hears(world, gw, waits, b"waits").f_cnt > before.f_cnt
    assert hears(world, gw, unheard, b"unheard").f_cnt > last_unheard
    for d in alive:
        uplink_arrives(world, gw, d, b"again")
        assert answered(world, gw, d, b"new").f_cnt > last[d], "the device has heard a downlink with this counter already"
    # Nobody had to join again. A DevNonce of before the backup stays used; who joins gets a JoinNonce that it takes.
    assert not second.events.all("join")
    gw.uplink(v10.join_request(nonce=1), v10.hz, v10.datr)
    second.wait_frame("DEVNONCE_REUSED", dev_eui=v10.dev_eui)
    world.join(again, gw)
    world.close()


def test_restore_takes_no_chances(tmp_path):
    """Nothing is overwritten, nothing damaged is put in place, nothing outside of the folder is written."""
    file = tmp_path / "b.tar.gz"
    assert "no ns.db" in longwave("backup", file, "--state", tmp_path / "nothing", ok=False)
    full = tmp_path / "full"
    full.mkdir()
    (full / "ns.db").touch()
    file.write_bytes(b"not a backup")
    assert "is not empty" in longwave("restore", file, "--state", full, ok=False)
    assert "cannot be read" in longwave("restore", file, "--state", tmp_path / "s", ok=False)

    def write(**members):
        manifest = {"format": 1, "time": 0, "files": {n: hashlib.sha256(b"database").hexdigest() for n in ("ns.db", "app.db")}}
        with tarfile.open(file, "w:gz") as tar:
            for name, text in {"manifest.json": json.dumps(manifest).encode(), **members}.items():
                info = tarfile.TarInfo(name)
                info.size = len(text)
                tar.addfile(info, io.BytesIO(text))

    write(**{"ns.db": b"database", "app.db": b"databasE"})
    assert "app.db is damaged" in longwave("restore", file, "--state", tmp_path / "s", ok=False)
    write(**{"ns.db": b"database", "app.db": b"database"})
    assert "finds ns.db damaged" in longwave("restore", file, "--state", tmp_path / "s", ok=False)
    write(**{"../evil": b"x"})
    assert "has no place" in longwave("restore", file, "--state", tmp_path / "s", ok=False)
    assert not (tmp_path / "s").exists() and not (tmp_path / "evil").exists()
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".")], "what a failed restore had begun"


@pytest.mark.only_store("postgres")  # its own tools
def test_postgres_dump(tmp_path):
    """docs/operations.md, Backup: pg_dump while everything runs, both schemas lost, psql, longwave-after-restore; the devices go on."""
    stack = Stack(tmp_path)
    try:
        world = World(stack)
        gw, d, otaa = world.gateway(), world.device("1.1.0", otaa=False), world.device()
        world.join(otaa, gw)
        alive = (d, otaa)
        for x in alive:
            answered(world, gw, x, b"before")

        def pg(tool, *args, **kw):
            return subprocess.run([f"{stack.pg.bin}/{tool}", "-h", "127.0.0.1", "-p", str(stack.pg.port), "-U", "lw", *args, "postgres"],
                                  check=True, capture_output=True, text=True, **kw).stdout

        dump = pg("pg_dump", "-n", "ns", "-n", "app")
        last = {x: answered(world, gw, x, b"after").f_cnt for x in alive}
        for daemon in (stack.ns, stack.app):
            daemon.kill()
        pg("psql", "-c", "DROP SCHEMA ns CASCADE; DROP SCHEMA app CASCADE")
        pg("psql", "-q", "-v", "ON_ERROR_STOP=1", input=dump)
        tool = build_dir() / "bin" / "longwave-after-restore"
        said = subprocess.run([tool, "--ns", stack.dsn("ns"), "--app", stack.dsn("app")], check=True, capture_output=True, text=True).stdout
        assert f"2 sessions and the JoinNonces of 1 devices went ahead by {JUMP}" in said
        for daemon in (stack.ns, stack.app):
            daemon.start(wait=False)
        stack.wait_healthy()
        for x in alive:
            uplink_arrives(world, gw, x, b"again")
            assert answered(world, gw, x, b"new").f_cnt > last[x]
        assert len(stack.events.all("join")) == 1
        world.close()
    finally:
        stack.close()
