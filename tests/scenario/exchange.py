"""An independent end device (exchange_device.py, on tests/e2e/lw/device.py: AES alone) against the network-server's flows, frame
by frame.

    exchange.py DRIVER [--exchanges N] [--region R] [--version V] [--seed S] [--commit C] [--log FILE]
    exchange.py --report docs/exchanges.md --log FILE

DRIVER is tests/scenario/network-server/exchange_driver.c: the flows on the virtual clock. The regions' facts come from
tests/vectors/regions/regions.tsv, not from our tables. Each exchange is a random uplink, before it at times a join, a rejoin, a
reset, counters about to run over, other wishes of the network. Frames get lost, are said twice, forged, refused by the gateway; the
device obeys or refuses what the network asks. Checked on every frame: what is delivered, MIC, counters, encryption, frequency, data
rate, delay and size of both windows, answers that are due and what they say; and in between, that both sides think the same of the
device's parameters.
"""

import argparse
import collections
import json
import random
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.dont_write_bytecode = True

from exchange_device import ASKED, NAMES, REQUESTS, Device, Plan, dev, facts  # noqa: E402

VERSIONS = ["1.0.0", "1.0.1", "1.0.2", "1.0.3", "1.0.4", "1.1.0"]
CONFIGS = {"eu868": "EU868", "us915_0": "US915", "au915_0": "AU915", "as923": "AS923", "as923_2": "AS923_2", "as923_3": "AS923_3",
           "as923_4": "AS923_4", "kr920": "KR920", "in865": "IN865", "ru864": "RU864", "eu433": "EU433", "cn779": "CN779",
           "cn470_0": "CN470", "ism2400": "ISM2400"}
NEW_SESSION = 300  # exchanges between two joins, about
MAX_FCNT_GAP = 16384
DELIVERED = 1
START_GPS_MS = (1714564800 - 315964800 + 18) * 1000  # of the driver's clock: 2024-05-01T12:00:00Z
SNR_FLOOR = {5: -2.5, 6: -5, 7: -7.5, 8: -10, 9: -12.5, 10: -15, 11: -17.5, 12: -20}


@dataclass
class Heard:
    """What the driver printed."""
    uplinks: list = field(default_factory=list)
    downs: list = field(default_factory=list)  # lists of (delay ms, hz, rate, inverted, phy); -1 ms: at once
    outcomes: list = field(default_factory=list)
    acked: list = field(default_factory=list)
    rest: dict = field(default_factory=dict)


class Driver:
    """Commands that need no answer at once wait for one that does: a process switch per exchange, not per command."""

    def __init__(self, path):
        self.proc = subprocess.Popen([path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.log = []
        self.given_up = set()  # counters of confirmed downlinks that the network waits for no more
        self.waiting = []  # (line, what its answer has to pass)

    def tell(self, *words, check=None):
        self.waiting.append((" ".join(str(w) for w in words), check))

    def do(self, *words):
        self.tell(*words)
        said, waiting, self.waiting = None, self.waiting, []
        self.proc.stdin.write("\n".join(line for line, _ in waiting) + "\n\n")
        self.proc.stdin.flush()
        for line, check in waiting:
            self.log = self.log[-40:] + ["> " + line]
            said = self._read(line)
            if check:
                check(said)
            self.given_up.update(n for n, ok in said.acked if not ok)
        return said

    def _read(self, line):
        out = Heard()
        while True:
            said = self.proc.stdout.readline()
            if not said:
                raise AssertionError(f"the driver ended ({self.proc.wait()}) at: {line}")
            if said == ".\n":
                return out
            self.log.append("< " + said.rstrip())
            w = said.split()
            if w[0] == "uplink":
                out.uplinks.append((int(w[1]), int(w[2]), int(w[3]), w[4] == "1", bytes.fromhex(w[5].strip("-"))))
            elif w[0] == "outcome":
                out.outcomes.append((int(w[1]), int(w[2])))
            elif w[0] == "acked":
                out.acked.append((int(w[1]), w[2] == "1"))
            elif w[0] == "down":
                out.downs.append([])
            elif w[0] == "item":
                out.downs[-1].append((int(w[1]), int(w[2]), w[3], w[4], bytes.fromhex(w[-1])))
            else:
                out.rest[w[0]] = w[1:]

    def close(self):
        try:
            self.proc.stdin.close()
        except BrokenPipeError:
            pass
        return self.proc.wait()


class Run:
    """Exchanges of one version in one region."""

    def __init__(self, driver, config, version, seed, rows):
        self.driver, self.config, self.version = driver, config, version
        self.rng = random.Random(f"{seed}/{config}/{version}")
        self.plan = Plan(CONFIGS[config], rows[CONFIGS[config]], version)
        self.count = collections.Counter()
        self.commands = collections.Counter()
        self.items = {}
        self.dev = None

    # ---- the driver

    def nothing_sent(self, said):
        assert not said.downs, "a downlink that nothing asked for"
        assert not said.uplinks

    def tell(self, *words):
        """What makes the network say nothing, but for an item that still meets the last uplink's windows, or class C."""
        if words[0] == "pass":
            self.now_ms += words[1]
        # Of class C, or lately: a confirmed item of then that is given up makes room for the next one.
        if self.dev.class_c or words[0] == "queue":
            self.at_any_time(self.driver.do(*words), words[0])
        else:
            self.driver.tell(*words, check=self.nothing_sent)

    def up(self, hz, dr, snr, phy):
        self.gps_ms = START_GPS_MS + self.now_ms
        said = self.driver.do("up", hz, self.plan.air[dr], snr, phy.hex())
        self.now_ms += 400
        self.count["up"] += 1
        return said

    # ---- what the network wants

    def some_hz(self):
        return self.rng.choice(sorted(set(self.plan.rx1_hz.values()) or set(self.plan.channels.values())))

    def some_down_dr(self):
        return self.rng.choice(self.plan.some_down_drs)

    def wish(self):
        """Sets something of the profile or of the region configuration."""
        rng, plan, d = self.rng, self.plan, self.dev
        what = rng.choice(("delay", "offset", "rx2", "duty", "adrack", "tx", "rejoin", "beacon", "dl", "channel", "status", "class_b"))
        if what == "delay":
            values = [rng.randint(1, 15)]
        elif what == "offset":
            values = [rng.randint(0, plan.max_offset)]
        elif what == "rx2":
            values = [self.some_down_dr(), self.some_hz()]
        elif what in ("adrack", "rejoin"):
            values = [rng.randrange(16), rng.randrange(16)]
        elif what == "duty":
            values = [rng.randrange(16)]
        elif what == "tx":
            values = [rng.randrange(2), rng.randrange(2), rng.randint(8, 36)]
        elif what == "status":
            values = [rng.choice((0, 100, 5000))]
        elif what == "beacon":
            values = [self.some_hz()]
        elif what == "class_b":
            values = [int(d.class_b), self.some_down_dr(), self.some_hz()]
        elif plan.fixed:
            return
        elif what == "dl":
            values = [rng.choice(sorted(d.channels)), self.some_hz()]
        else:
            index = rng.randint(0, min(len(self.extra_hz), 7))
            low, high = next(iter(plan.range.values()))
            free = sorted(set(plan.grid) - set(self.extra_hz.values()) - set(d.channels.values()))
            self.extra_hz[index] = rng.choice(free)
            values = [index, self.extra_hz[index], low, rng.randint(max(low, high - 2), high)]
        self.driver.tell("set", what, *values)

    def fresh(self):
        rng = self.rng
        d = self.dev = Device(rng, self.plan, self.version)
        self.now_ms, self.extra_hz, self.unsure = 0, {}, False
        self.items, self.heard_item, self.old = {}, -1, []
        self.driver.tell("device", VERSIONS.index(self.version), self.config, d.dev_eui, d.join_eui, d.nwk_key.hex(), d.app_key.hex())
        d.class_b, d.class_c, d.otaa = rng.random() < 0.5, rng.random() < 0.3, rng.random() < 0.7
        self.driver.tell("set", "class_b", int(d.class_b), self.some_down_dr(), self.some_hz())
        self.driver.tell("set", "class_c", int(d.class_c))
        self.driver.tell("set", "status", rng.choice((0, 0, 100, 5000)))
        if not self.plan.fixed:
            # The ready-made extra channels differ from region to region: five that all have, so that others can come.
            low, high = next(iter(self.plan.range.values()))
            for i in range(5):
                self.extra_hz[i] = self.plan.grid[i]
                self.driver.tell("set", "channel", i, self.plan.grid[i], low, high)
        if d.otaa:
            self.join()
        else:
            self.personalise()

    def personalise(self):
        d, rng = self.dev, self.rng
        keys = [rng.randbytes(16) for _ in range(3)] if d.is_11 else [rng.randbytes(16)] * 3
        d.activate(rng.getrandbits(25), *keys, rng.randbytes(16))
        d.reset_ind = d.is_11
        self.driver.do("abp", f"{d.dev_addr:08x}", *(k.hex() for k in keys), d.app_s_key.hex())
        self.session()
        self.count["abp"] += 1

    # ---- windows

    def window_of(self, items, windows, what, dwell=None):
        d, plan = self.dev, self.plan
        assert 1 <= len(items) <= len(windows), f"{len(items)} windows"
        for delay, hz, rate, inverted, phy in items:
            assert delay in windows, f"{what}: after {delay} ms, not {list(windows)}"
            want = windows[delay][0], plan.down_rates[windows[delay][1]]
            assert (hz, rate) == want, f"{what}: {hz} {rate} after {delay} ms, not {want}"
            assert rate.startswith("FSK") or inverted == "1", f"{what}: not inverted"
            most = plan.max_size.get((windows[delay][1], d.active and d.down_dwell if dwell is None else dwell), 255)
            assert len(phy) <= most or phy[0] == 0x20, f"{what}: {len(phy)} octets at DR{windows[delay][1]}, not {most}"
        assert len({i[0] for i in items}) == len(items), "one window twice"

    def fits(self, windows):
        """A data frame can be sent in one of them: not so at DR0 of CN470 since RP002."""
        return any(self.plan.min_size.get((dr, self.dev.down_dwell), 255) > 5 for _, dr in windows.values())

    # ---- activation

    def session(self):
        d = self.dev
        self.driver.tell("session", f"{d.dev_addr:08x}", d.app_s_key.hex())
        self.items, self.heard_item, self.old = {}, -1, []
        self.driver.given_up.clear()
        self.is_offer = False

    def join(self):
        """Until an accept is heard."""
        d, lost = self.dev, True
        while lost:
            joinable = sorted(i for i in self.plan.channels if not self.plan.fixed or i in self.plan.heard)
            d.tx_channel = self.rng.choice(joinable)
            low, high = self.plan.range[d.tx_channel]
            d.dr, d.active = self.rng.randint(low, high), False
            phy = d.join_request()
            said = self.up(self.plan.channels[d.tx_channel], d.dr, 8, phy)
            assert len(said.downs) == 1, f"{len(said.downs)} answers to a join-request"
            self.window_of(said.downs[0], d.windows(self.plan.accept_delay, join=True), "join-accept")
            lost = self.rng.random() < 0.1
            if lost:
                self.driver.tell("ack", "OK")
                self.count["lost"] += 1
            else:
                taken = self.rng.randrange(len(said.downs[0]))
                for item in said.downs[0]:
                    assert item[4] == said.downs[0][taken][4], "two join-accepts for one request"
                d.accept(said.downs[0][taken][4])
                self.driver.tell("ack", *["COLLISION_PACKET"] * taken, "OK")
            self.driver.tell("pass", 7000)
            self.now_ms += 7000
            self.count["down"] += 1
        self.session()
        self.is_offer = True  # until the network hears of the session: decision 0014
        self.count["joins"] += 1

    def rejoin(self, kind):
        d = self.dev
        d.choose()
        windows = d.windows(self.plan.accept_delay)
        phy = d.rejoin_request(kind)
        said = self.up(d.channels[d.tx_channel], d.dr, 8, phy)
        assert len(said.downs) == 1, f"{len(said.downs)} answers to a rejoin-request of type {kind}"
        self.window_of(said.downs[0], windows, "accept to a rejoin-request")
        self.driver.tell("ack", "OK")
        self.driver.tell("pass", 7000)
        self.now_ms += 7000
        self.count["down"] += 1
        if self.rng.random() < 0.15:
            self.count["lost"] += 1
            return
        owed = d.ack_down
        d.accept_rejoin(said.downs[0][0][4])
        self.session()
        self.is_offer = True
        if kind == 2 and self.rng.random() < 0.5:  # keys and counters are new, what it has to say need not be
            d.ack_down = owed
            self.driver.given_up.add(owed)
        self.count[f"rejoin {kind}"] += 1

    def roll(self):
        """Counters shortly before 16, 24 bits and more are full."""
        d = self.dev
        top = self.rng.choice((1 << 16, 1 << 24, 5 << 16))
        up, n, a = (top - self.rng.randint(1, 6) for _ in range(3))
        d.f_cnt_up, d.next_down = up, {"n": n, "a": a}
        d.ack_down = None
        self.driver.tell("counters", up, n, a)
        self.session()
        self.count["rollovers"] += 1

    def jump(self):
        """Many uplinks that nobody heard."""
        d = self.dev
        before = d.f_cnt_up
        d.f_cnt_up += self.rng.choice((100, 5000, MAX_FCNT_GAP - 300))
        self.count["gaps"] += 1
        self.count["rollovers"] += before >> 16 != d.f_cnt_up >> 16

    # ---- downlinks

    def hear(self, phy, at_any_time=False):
        d = self.dev
        d.at_any_time = at_any_time
        try:
            got = d.downlink(phy)
        finally:
            d.at_any_time = False
        self.heard = self.heard or not at_any_time
        for cid, content in got.commands.items():
            self.commands[cid, "down"] += 1
            self.answer_of(cid, content)
        if got.f_port > 0:
            key = got.f_port, got.confirmed, got.data
            assert key in self.items, f"nobody queued {got.data.hex()} for port {got.f_port}"
            again = self.items[key] == self.heard_item and self.unsure  # no gateway said that it sent it
            assert self.items[key] > self.heard_item or again, f"item {self.items[key]} after {self.heard_item}"
            self.unsure = False
            self.heard_item = self.items[key]
            self.count["items"] += 1
        return got

    def answer_of(self, cid, c):
        """What answers to the device's questions say."""
        if cid == 0x02:
            margin, n = c
            assert n == 1, f"LinkCheckAns: {n} gateways"
            assert self.margin is None or margin == self.margin, f"LinkCheckAns: {margin} dB, not {self.margin}"
        elif cid == 0x0D:
            ms = int.from_bytes(c[:4], "little") * 1000 + c[4] * 1000 / 256
            assert abs(ms - self.gps_ms) < 4, f"DeviceTimeAns: {ms} not {self.gps_ms}"
        elif cid == 0x12:
            until = 128000 - self.gps_ms % 128000
            delay = int.from_bytes(c[:2], "little") * 30
            assert delay <= until <= delay + 30, f"BeaconTimingAns: {delay} ms, not {until}"
        elif cid in (0x01, 0x0B):
            assert c == b"\x01", f"minor version {c[0]}"

    def at_any_time(self, said, asked):
        """Downlinks that came with an item: to a device of class C, or in windows that are still to come."""
        d = self.dev
        assert not said.uplinks
        while said.downs:
            for items in said.downs:
                windows, of_class_c = {-1: (d.rx2_hz, d.rx2_dr)}, items[0][0] == -1
                dwell = None
                # One that has joined anew, or changed its class, RX2 or dwell time and not said so yet, hears nothing.
                if d.rekey or of_class_c and (d.reset_ind or d.mode_ind is not None or {0x05, 0x09} & set(d.sticky)):
                    self.count["lost"] += 1
                    continue
                if not of_class_c:
                    windows, at_ms, _, dwell = self.last
                    assert asked != "queue" or at_ms + items[-1][0] > self.now_ms, f"a window that was {self.now_ms - at_ms - items[-1][0]} ms ago"
                    assert not self.answered, "a second downlink in the windows of an uplink"
                    self.answered = True
                assert d.cls == 2 or not of_class_c, "a downlink of class C to a device of class A"
                self.window_of(items, windows, "downlink with an item", dwell)
                self.count["down"] += 1
                self.count["class C" if of_class_c else "late items"] += 1
                if self.rng.random() < 0.1 or not of_class_c and self.heard:
                    d.try_downlink(items[0][4])
                    self.count["lost"] += 1
                else:
                    got = self.hear(items[0][4], at_any_time=of_class_c)
                    assert not got.ack or not of_class_c and self.last[2]
                    if got.confirmed:
                        self.driver.given_up.add(got.f_cnt)  # one that did not count as sent goes once more, with another
                self.unsure = asked == "pass" or items is not said.downs[-1]  # its gateway had the time of the next to answer
            said = self.driver.do("ack", "OK")

    def downlink(self, said, windows, asked, confirmed, due):
        d = self.dev
        assert len(said.downs) <= 1, f"{len(said.downs)} downlinks"
        self.last = windows, self.now_ms - 400, confirmed, d.down_dwell
        self.answered, self.heard = bool(said.downs), False
        if not said.downs and self.fits(windows):
            assert not confirmed, "a confirmed uplink was not acknowledged"
            assert not asked, f"no answer to {asked}"
            assert not due, f"no downlink, and there has to be: {due}"
        if not said.downs:
            return
        items = said.downs[0]
        self.window_of(items, windows, "downlink")
        self.count["down"] += 1
        fate = self.rng.random()
        taken = self.rng.randrange(len(items))
        for i, item in enumerate(items):
            if i != taken or fate <= 0.2:
                assert d.try_downlink(item[4]).ack == confirmed
        if fate < 0.08:  # no gateway sends it: nobody hears it, its counter is free
            self.count["refused"] += 1
            self.answered = False
            self.tell("ack", *["TOO_LATE"] * len(items))
            return
        got = self.hear(items[taken][4]) if fate > 0.2 else None
        if fate < 0.98:
            self.tell("ack", *["COLLISION_PACKET"] * taken, "OK")
        else:
            self.count["gateways that do not answer"] += 1
            self.unsure = True
            if got and got.confirmed:
                self.driver.given_up.add(got.f_cnt)
        if got is None:
            self.count["lost"] += 1
            return
        assert got.ack == confirmed, f"ACK {got.ack} after confirmed {confirmed}"
        assert got.adr, "ADR bit"
        missing = [NAMES[c] for c in asked if c not in got.commands]
        room = min(self.plan.min_size.get((dr, d.down_dwell), 255) for _, dr in windows.values()) - 13
        assert not missing or got.f_port > 0 or len(items) > 1 or room < 40, f"not answered: {missing}"

    # ---- uplinks

    def asks(self):
        """[(CID, as in FOpts)]: what the device wants to know or say."""
        d, rng, out = self.dev, self.rng, []
        if d.mode_ind is not None:
            out.append((0x20, bytes([0x20, d.mode_ind])))
        if d.reset_ind:
            out.append((0x01, b"\x01\x01"))
        if rng.random() < 0.2:
            out.append((0x02, b"\x02"))
        if rng.random() < 0.1 and self.version >= "1.0.3":
            out.append((0x0D, b"\x0d"))
        if rng.random() < 0.05 and d.class_b:
            d.ping_nb = 1 << 7 - (periodicity := rng.randrange(8))
            out.append((0x10, bytes([0x10, periodicity])))
        if rng.random() < 0.05 and d.class_b:
            out.append((0x12, b"\x12"))
        return out

    def queue(self):
        d, rng = self.dev, self.rng
        self.serial = getattr(self, "serial", 0) + 1
        size = rng.randint(30, 60) if rng.random() < 0.1 else rng.randint(0, 8)
        port, confirmed, data = rng.randint(1, 223), rng.random() < 0.3, self.serial.to_bytes(4, "big") + rng.randbytes(size)
        self.items[port, confirmed, data] = self.serial
        if len(self.items) > 60:
            del self.items[next(iter(self.items))]
        self.tell("queue", port, int(confirmed), data.hex())

    def forge(self):
        """A frame with a bit that is not the device's, or one that was heard before: nothing comes of it."""
        d, rng = self.dev, self.rng
        d.choose()
        if self.old and rng.random() < 0.5:
            phy = rng.choice(self.old)
        else:
            kept = d.f_cnt_up, d.answers, d.ack_down, d.last_up
            phy = bytearray(d.uplink(b"forged", 9))
            d.f_cnt_up, d.answers, d.ack_down, d.last_up = kept
            phy[rng.randrange(1, len(phy))] ^= 1 << rng.randrange(8)
            phy = bytes(phy)
        said = self.up(d.channels[d.tx_channel], d.dr, 5, phy)
        assert not said.uplinks, f"a forged frame was delivered: {phy.hex()}"
        assert not said.downs, f"a forged frame was answered: {phy.hex()}"
        assert all(o[0] != DELIVERED for o in said.outcomes)
        self.count["forged"] += 1
        self.tell("pass", 3000)

    def uplink(self):
        d, rng = self.dev, self.rng
        d.choose()
        if rng.random() < 0.25:
            self.queue()
        confirmed, sticky, asks = rng.random() < 0.3, b"".join(d.sticky.values()), self.asks()
        own = len(d.answers) + len(sticky) + len(d.foreign) + 2 * d.rekey
        port_0 = rng.random() < 0.05 or own > 15
        if not port_0:
            room = 15 - own
            while sum(len(a) for _, a in asks) > room:
                if asks.pop()[0] == 0x10:
                    d.ping_nb = None
        fopts = sticky + b"".join(a for _, a in asks) + d.foreign  # nobody knows where a proprietary one ends
        asked = [c for c, _ in asks]
        on_port_0 = b""
        if port_0 and (fopts or d.answers):
            fopts, on_port_0 = b"", fopts or b"\x02"
            asked += [0x02] if on_port_0 == b"\x02" and 0x02 not in asked else []
        f_port = rng.choice((None, 1, 77, 223)) if not on_port_0 else 0
        data = rng.randbytes(rng.randint(1, 30)) if f_port else b""
        dr, windows, f_cnt, acks, dwell = d.dr, d.windows(d.rx_delay), d.f_cnt_up, d.ack_down, d.down_dwell
        # At the slowest rate it says that the device has gone back to all channels, which this one does not.
        adr_ack_req = rng.random() < 0.02 and dr > self.plan.dr + 2 * bool(d.up_dwell)
        said_of = [*([0x0B] if d.rekey else []), *asked, *d.sticky]
        status, d.status, foreign, d.foreign = d.status, [], d.foreign, b""
        phy = d.uplink(data, f_port, confirmed, fopts, adr=d.adr, commands_on_port_0=on_port_0, adr_ack_req=adr_ack_req)
        for cid in said_of:
            self.commands[cid, "up"] += 1
        link_answer, mask_answer, d.link_answer, d.mask_answer = d.link_answer, d.mask_answer, False, False
        if rng.random() < 0.08:
            self.count["lost"] += 1
            d.link_unsure = d.link_unsure or link_answer or mask_answer
            return
        d.link_unsure = d.link_unsure and not link_answer
        snr, rate = rng.randint(0, 14), self.plan.rates[dr]
        self.margin = int(snr - SNR_FLOOR[int(rate[2:].split("/")[0])]) if rate.startswith("SF") else None
        words = d.channels[d.tx_channel], dr, snr, phy
        said = self.up(*words)
        assert said.outcomes and said.outcomes[0][0] == DELIVERED, f"not delivered: {said.outcomes} {said.rest}"
        self.is_offer = False
        if on_port_0:
            assert not said.uplinks or said.uplinks[0][1] == 0
        else:
            assert len(said.uplinks) == 1, f"{len(said.uplinks)} events"
            event = said.uplinks[0]
            assert event[0] == f_cnt, f"counter {event[0]}, not {f_cnt}"
            assert event[3] == confirmed
            if f_port is not None:
                assert event[1] == f_port
                assert d._crypt(d.app_s_key, dev.UP, f_cnt, event[4]) == data, "payload"
        if acks is not None:
            assert (acks, True) in said.acked or acks in self.driver.given_up, f"acknowledged {acks}, and the application was told {said.acked}"
            self.count["acknowledged"] += 1
        else:
            assert not any(ok for _, ok in said.acked), f"nothing was acknowledged: {said.acked}"
        if "status" in said.rest:
            assert tuple(int(v) for v in said.rest["status"]) in status, f"status {said.rest['status']}, not {status}"
            self.count["status"] += 1
        else:
            assert not status, "DevStatusAns, and the application was not told"
        if foreign:
            assert said.rest["mac"] == [foreign.hex()], f"proprietary {foreign.hex()}, and {said.rest.get('mac')} was told"
        self.downlink(said, windows, asked + ([0x0B] if 0x0B in said_of else []), confirmed, adr_ack_req and "ADRACKReq")
        if len(self.old) < 8 or rng.random() < 0.01:
            self.old = (self.old + [phy])[-8:] if d.last_up != f_cnt else self.old
        self.tell("pass", rng.choice((3000, 20000, 60000)))
        if rng.random() < 0.06 and d.last_up == f_cnt:
            self.again(words, windows, confirmed, dwell)

    def again(self, words, windows, confirmed, dwell):
        """NbTrans, or a device that did not hear its acknowledgement."""
        d = self.dev
        said = self.up(*words)
        assert not said.uplinks, "a repetition was delivered"
        assert len(said.downs) <= 1
        self.last, self.answered = (windows, self.now_ms - 400, confirmed, dwell), bool(said.downs)
        if confirmed and self.fits(windows):
            assert said.downs, "a repetition was not acknowledged"
        for items in said.downs:
            self.window_of(items, windows, "answer to a repetition", dwell)
            self.count["down"] += 1
            # One that heard an answer says nothing again and hears nothing: a gateway was slow.
            (d.try_downlink if self.heard else self.hear)(items[0][4])
            self.heard = True
            self.tell("ack", "OK")
        self.count["repeated"] += 1
        self.tell("pass", 5000)

    # ---- both sides

    def agree(self):
        """What the network thinks that the device has; nothing is under way. True: nothing was pending."""
        d = self.dev
        said = self.driver.do("state").rest
        state = dict(zip(said["state"][::2], map(int, said["state"][1::2])))
        if state["pending"] or state["joining"] or d.reset_ind or d.sticky or d.answers or d.rekey:
            return False
        mine = {"delay": d.rx_delay, "offset": d.rx1_offset, "rx2_dr": d.rx2_dr, "rx2_hz": d.rx2_hz, "power": d.power, "nb": d.nb,
                "up_dwell": d.up_dwell, "down_dwell": d.up_dwell is not None and d.down_dwell, "eirp": d.eirp, "duty": d.duty,
                "limit": d.limit, "adr_delay": d.adr_delay, "rejoin_time": d.rejoin_time, "rejoin_count": d.rejoin_count,
                "beacon": d.beacon_hz, "ping_hz": d.ping_hz, "ping_dr": d.ping_dr, "class": d.cls if d.mode_ind is None else None, "up": d.last_up + 1}
        if d.link_unsure:
            mine["power"] = mine["nb"] = None
        for name, value in mine.items():
            assert value is None or name == "up" or name == "nb" and state[name] == 0 or state[name] == value, \
                f"the network thinks {name} {state[name]}, the device has {value} {d.trace[-8:]}"
        assert d.link_unsure or set(map(int, said["enabled"])) == d.enabled, f"enabled: {said['enabled']} and {sorted(d.enabled)}"
        if not self.plan.fixed:
            extra = {i: (hz, *d.range[i]) for i, hz in d.channels.items() if i >= len(self.plan.channels)}
            theirs = {i: rest for i, *rest in (map(int, c.split(":")) for c in said["channels"])}
            assert {i: tuple(r) for i, r in theirs.items()} == extra, f"channels: {theirs} and {extra}"
            assert dict(tuple(map(int, c.split(":"))) for c in said["dl_hz"]) == d.dl_hz, f"dl_hz: {said['dl_hz']} and {d.dl_hz}"
        self.count["agreed"] += 1
        return True

    def between(self):
        """What happens at times between two uplinks."""
        d, rng = self.dev, self.rng
        fate = rng.random() * NEW_SESSION
        if fate < 1:
            self.fresh() if rng.random() < 0.5 or not d.otaa else self.join()
        elif fate < 2 and d.is_11 and d.otaa and not d.rekey and not d.sticky:
            self.rejoin(rng.choice((0, 1, 2)))
        elif fate < 4 and not d.rekey and not self.is_offer:
            self.roll()
        elif fate < 5:
            self.jump()
        elif fate < 5.5 and d.is_11 and not d.otaa:
            d.boot()
            self.count["resets"] += 1
        elif fate < 8 and d.is_11 and d.class_c and d.mode_ind is None and not d.reset_ind and not d.rekey:
            d.cls = d.mode_ind = rng.choice((0, 2))
        elif fate < 12:
            self.forge()
        elif fate < 15 and not d.answers:
            d.adr = not d.adr
        elif fate < 18 and not d.rekey:
            self.driver.tell("mac", "80" + rng.randbytes(2).hex() if rng.random() < 0.7 or not d.is_11 or not d.otaa else
                             "0e" + bytes([rng.choice((0, 2)) << 4 | 5, 0x0B]).hex())
        elif fate < 38 and self.agree():
            for _ in range(rng.randint(1, 3)):
                self.wish()
        d = self.dev  # it may be another by now
        if self.is_offer and d.is_11 and d.otaa and rng.random() < 0.1:
            self.rejoin(rng.choice((0, 2)))  # before anything else is heard of the session
            self.count["rejoins at once"] += 1
        if d.force_rejoin is not None and not d.rekey and not d.sticky:  # else nobody knows where it listens
            kind, d.force_rejoin = d.force_rejoin, None
            self.rejoin(kind)

    def go(self, n):
        self.fresh()
        for _ in range(n):
            self.between()
            self.uplink()
            self.count["exchanges"] += 1
        self.driver.do("state")


def one(driver_path, config, version, args, rows):
    """The record of one pair."""
    driver, start = Driver(driver_path), time.monotonic()
    run = Run(driver, config, version, args.seed, rows)
    failed = None
    try:
        run.go(args.exchanges)
    except (AssertionError, KeyError, IndexError, ValueError) as e:
        where = e.__traceback__
        while where.tb_next:
            where = where.tb_next
        failed = f"{type(e).__name__} {e} (line {where.tb_lineno})\n    " + "\n    ".join(driver.log[-args.lines:])
    if driver.close() and not failed:
        failed = "the driver's exit code"
    commands = {f"{NAMES[cid]} {way}": n for (cid, way), n in sorted(run.commands.items())}
    return {"region": config, "version": version, "seed": args.seed, "commit": args.commit, **run.count, "commands": commands, "failed": failed,
            "seconds": round(time.monotonic() - start, 1)}


def runs_table(runs):
    out = ["| seed | commit of the driver | pairs | agree | exchanges | frames | minutes |", "| ---: | --- | ---: | ---: | ---: | ---: | ---: |"]
    by = collections.defaultdict(list)
    for r in runs:
        by[r["seed"], r.get("commit") or "not said"].append(r)
    for (seed, commit), some in sorted(by.items()):
        out.append(f"| {seed} | {commit} | {len(some)} | {sum(not r['failed'] for r in some)} | {sum(r.get('exchanges', 0) for r in some):,} | "
                   f"{sum(r.get('up', 0) + r.get('down', 0) for r in some):,} | {sum(r['seconds'] for r in some) / 60:.0f} |")
    return out


def pairs_table(runs):
    out = ["| region | version | exchanges | frames up | frames down | seconds | |", "| --- | --- | ---: | ---: | ---: | ---: | --- |"]
    by = collections.defaultdict(list)
    for r in runs:
        by[r["region"], r["version"]].append(r)
    for (region, version), some in by.items():
        up, down, n = (sum(r.get(k, 0) for r in some) for k in ("up", "down", "exchanges"))
        failed = ", ".join(str(r["seed"]) for r in some if r["failed"])
        out.append(f"| {region} | {version} | {n:,} | {up:,} | {down:,} | {sum(r['seconds'] for r in some):.1f} | "
                   f"{'FAILED with seed ' + failed if failed else 'agrees'} |")
    return out


def report(lines, path):
    """docs/exchanges.md of the last record of each pair and seed."""
    last = {(r["region"], r["version"], r["seed"]): r for r in lines}
    seeds = sorted({r["seed"] for r in lines})
    runs = [last[c, v, s] for c in CONFIGS for v in VERSIONS for s in seeds if (c, v, s) in last]
    total, commands = collections.Counter(), collections.Counter()
    for r in runs:
        total.update({k: v for k, v in r.items() if isinstance(v, int) and k != "seed"})
        commands.update(r["commands"])
    out = ["# Random exchanges with an independent device", "",
           "Made by `tests/scenario/exchange.py DRIVER --exchanges 10000 --seed N --commit C --log FILE` (DRIVER: `bin/exchange-driver` of a",
           "build of commit C; pairs one by one with `--region`, `--version`) and then `tests/scenario/exchange.py --log FILE --report",
           "docs/exchanges.md`. What is exchanged and checked stands at the head of that file; each run of the tests does the same with fewer",
           "exchanges. Every frame counts that one side sent and the other checked; a downlink is checked in both of its windows. A seed gives",
           "each pair exchanges of its own. The minutes are those of a machine that was busy with other things.", "",
           *runs_table(runs), "", "## What was in them", "", "| what | how often |", "| --- | ---: |"]
    skip = {"exchanges", "up", "down"}
    out += [f"| {k} | {n:,} |" for k, n in sorted(total.items(), key=lambda kn: -kn[1]) if k not in skip]
    out += ["", "## MAC commands", "",
            "Requests of the network and answers to the device's questions as the device heard them, questions of the device as it sent",
            "them. The network's requests are answered, sometimes refused; sent: answers that are repeated until something is heard.", "", "| command | heard | sent |", "| --- | ---: | ---: |"]
    for cid in sorted(NAMES):
        down, up = commands[NAMES[cid] + " down"], commands[NAMES[cid] + " up"]
        out.append(f"| {NAMES[cid]}{'Req' if cid in REQUESTS else ''} | {down:,} | {f'{up:,}' if up else ''} |")
    out += ["", "## Each pair", "", f"With {'seeds' if len(seeds) > 1 else 'seed'} {', '.join(map(str, seeds))}.", "", *pairs_table(runs)]
    Path(path).write_text("\n".join(out) + "\n")


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("driver", nargs="?")
    ap.add_argument("--exchanges", type=int, default=300)
    ap.add_argument("--region", action="append")
    ap.add_argument("--version", action="append")
    ap.add_argument("--seed", type=int, default=1)
    ap.add_argument("--lines", type=int, default=14, help="of the dialogue, when something fails")
    ap.add_argument("--commit", help="that the driver is built of, for the report")
    ap.add_argument("--log", help="a JSON line for each pair goes to its end")
    ap.add_argument("--report", help="writes this from --log")
    args = ap.parse_args()
    if args.report:
        report([json.loads(line) for line in Path(args.log).read_text().splitlines()], args.report)
        return 0
    rows, failed = facts(), 0
    for config in args.region or CONFIGS:
        for version in args.version or VERSIONS:
            r = one(args.driver, config, version, args, rows)
            failed += r["failed"] is not None
            text = "ok" if not r["failed"] else f"FAILED after {r.get('exchanges', 0)}: {r['failed']}"
            print(f"{config} {version}: {text} {r['seconds']} s, {r.get('up', 0) + r.get('down', 0)} frames", flush=True)
            if args.log:
                with open(args.log, "a") as f:
                    f.write(json.dumps(r) + "\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
