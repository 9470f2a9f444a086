"""An independent end device (tests/e2e/lw/device.py, AES alone) against the network-server's flows, frame by frame.

    exchange.py DRIVER [--exchanges N] [--region R] [--version V] [--seed S]

DRIVER is tests/scenario/network-server/exchange_driver.c: the flows on the virtual clock. The regions' facts come from
tests/vectors/regions/regions.tsv, not from our tables. Each exchange is a random uplink (or join, or rejoin), maybe lost, maybe
said twice, with MAC requests and an application's downlinks; the device obeys or refuses what the network asks. Checked on every
frame: what is delivered, MIC, counters, encryption, frequency, data rate, delay and size of both windows, answers that are due.
"""

import argparse
import random
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/e2e"))
sys.dont_write_bytecode = True

from lw import device as dev  # noqa: E402

VERSIONS = ["1.0.0", "1.0.1", "1.0.2", "1.0.3", "1.0.4", "1.1.0"]
CONFIGS = {"eu868": "EU868", "us915_0": "US915", "au915_0": "AU915", "as923": "AS923", "as923_2": "AS923_2", "as923_3": "AS923_3",
           "as923_4": "AS923_4", "kr920": "KR920", "in865": "IN865", "ru864": "RU864", "eu433": "EU433", "cn779": "CN779",
           "cn470_0": "CN470", "ism2400": "ISM2400"}
NEW_SESSION = 400  # exchanges between two joins, about
MAX_FCNT_GAP = 16384
DELIVERED = 1


def facts():
    out = {}
    for line in (ROOT / "tests/vectors/regions/regions.tsv").read_text().splitlines():
        c = line.split("\t")
        if len(c) > 4 and not line.startswith("#"):
            out.setdefault(c[0], {}).setdefault(c[1], []).append((c[2], c[3], c[4], c[7] if len(c) > 7 else ""))
    return out


def number(text):
    digits = "".join(ch for ch in text if ch.isdigit())
    return int(digits)


class Plan:
    """What a device knows of its region; the fields of lw.device.Plan."""

    def __init__(self, name, rows, version):
        self.name = name
        param = {k: v for k, _, v, _ in rows["param"]}
        self.rx2_hz, self.rx2_dr = int(param["rx2_frequency"]), int(param["rx2_dr"])
        self.step = int(param["freq_step_in_24bit_fields"])
        self.accept_delay = int(param["join_accept_delay1"])
        # Newer rates may share a table with older ones of the same number; the first row is the one since 1.0.
        self.rates, self.down_rates = {}, {}
        for dr, way, what, _ in rows["dr"]:
            table = self.rates if way == "up" else self.down_rates
            table.setdefault(int(dr), what.split(" CR")[0])
        self.channels, self.range = {}, {}
        for index, _, hz, note in rows["uplink_channel"]:
            self.channels[int(index)] = int(hz)
            low, _, high = note.split("DR")[1].split()[0].partition("-")
            self.range[int(index)] = int(low), int(high or low)
        self.fixed = len(self.channels) > 16
        if self.fixed:  # what the gateway hears: the first sub-band
            self.heard = {i for i in self.channels if i < 8 or i == 64 and self.name != "CN470"}
        self.rx1_hz = {int(i): int(hz) for i, _, hz, _ in rows.get("rx1_channel_for_uplink_channel", [])}
        self.rx1_dr = {}
        for up, rest, dr, _ in rows["rx1_dr"]:
            offset, dwell = rest.split()[1], rest.split("dwell=")[1]
            for on in ([False, True] if dwell == "any" else [dwell == "true"]):
                self.rx1_dr[number(up), int(offset), on] = int(dr)
        self.air = {dr: dr for dr in self.rates}  # our number of a rate -> the driver's
        if name == "CN470" and version == "1.0.4":  # RP002: nothing fits into DR0
            self.range = {i: (1, high) for i, (_, high) in self.range.items()}
        if name == "AU915" and version in ("1.0.0", "1.0.1"):
            self._legacy_au915(rows)
        self.dr = min(r[0] for r in self.range.values())

    def _legacy_au915(self, rows):
        """The rates that AU915 had at first, those of US915, with its RX1."""
        new = {what: dr for dr, what in self.rates.items()}
        self.rates = {int(dr): what for dr, _, what, _ in rows["dr_legacy_1.0.1_1.0.2A"]}
        self.air = {dr: new[what] for dr, what in self.rates.items()}
        self.range = {i: (0, 3) if i < 64 else (4, 4) for i in self.channels}
        self.rx1_dr = {(dr, offset, dwell): max(8, min(13, 10 + dr - offset))
                       for dr in range(5) for offset in range(4) for dwell in (False, True)}

    def freq(self, octets):
        return int.from_bytes(octets, "little") * self.step


@dataclass
class Heard:
    """What the driver printed."""
    uplinks: list = field(default_factory=list)
    downs: list = field(default_factory=list)  # lists of (delay ms, hz, rate, inverted, phy)
    outcomes: list = field(default_factory=list)
    rest: list = field(default_factory=list)


class Driver:
    def __init__(self, path):
        self.proc = subprocess.Popen([path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.log = []

    def do(self, *words):
        line = " ".join(str(w) for w in words)
        self.log = self.log[-40:] + ["> " + line]
        self.proc.stdin.write(line + "\n")
        self.proc.stdin.flush()
        out = Heard()
        while True:
            said = self.proc.stdout.readline()
            if not said:
                raise AssertionError(f"the driver ended ({self.proc.wait()}) at: {line}")
            self.log.append("< " + said.rstrip())
            w = said.split()
            if w == ["."]:
                return out
            if w[0] == "uplink":
                out.uplinks.append((int(w[1]), int(w[2]), int(w[3]), w[4] == "1", bytes.fromhex(w[5].strip("-"))))
            elif w[0] == "outcome":
                out.outcomes.append((int(w[1]), int(w[2])))
            elif w[0] == "down":
                out.downs.append([])
            elif w[0] == "item":
                out.downs[-1].append((int(w[1]), int(w[2]), w[3], w[4], bytes.fromhex(w[-1])))
            else:
                out.rest.append(w)

    def close(self):
        self.proc.stdin.close()
        return self.proc.wait()


SIZE = {**dev.DOWN_SIZE, 0x11: 4, 0x13: 3}
dev.DOWN_SIZE = SIZE


class Device(dev.Device):
    """With everything that a device does with the network's requests; tests/e2e's is willing and in two regions."""

    def __init__(self, rng, plan, version):
        self.rng = rng
        dev.PLANS[plan.name] = plan
        super().__init__(rng.randbytes(8).hex(), rng.randbytes(8).hex(), version, plan.name, rng.randbytes(16), rng.randbytes(16))
        self.sticky = {}
        self.rj = 0

    # ---- activation

    def _cflist(self, cflist):
        self.cflist = cflist
        if cflist and cflist[15] == 0:
            assert not self.plan.fixed, "a CFList of frequencies in a fixed plan"
            for i in range(5):
                hz = self.plan.freq(cflist[3 * i:3 * i + 3])
                if hz:
                    self._set_channel(len(self.plan.channels) + i, hz, *next(iter(self.plan.range.values())))
        elif cflist:
            assert cflist[15] == 1 and self.plan.fixed, "a CFList of masks in a dynamic plan"
            mask = int.from_bytes(cflist[0:10], "little")
            self.enabled = {i for i in self.plan.channels if mask >> i & 1}

    def _set_channel(self, index, hz, low, high):
        self.dl_hz.pop(index, None)
        if hz == 0:
            self.channels.pop(index, None)
            self.enabled.discard(index)
            return
        self.channels[index], self.range[index] = hz, (low, high)
        self.enabled.add(index)

    def activate(self, *session):
        super().activate(*session)
        self.range = dict(self.plan.range)
        self.enabled = set(self.plan.channels)
        self.dl_hz, self.sticky = {}, {}
        self.down_dwell = False
        self.rx2_hz = self.plan.rx2_hz
        self.dr = self.plan.dr
        self.adr_count = 0

    def rejoin_request(self, kind):
        """Types 0 and 2; the keys of the session sign it."""
        head = bytes([6 << 5, kind]) + bytes.fromhex(self.net_id)[::-1] + self._le_eui(self.dev_eui) + self.rj.to_bytes(2, "little")
        return head + dev.cmac(self.s_nwk_s_int, head)[:4]

    def accept_rejoin(self, phy, kind, count):
        """A join-accept to a rejoin-request: keys from JSEncKey, JSIntKey and RJcount."""
        js_enc = dev.aes(self.nwk_key, dev._pad(b"\x05" + self._le_eui(self.dev_eui)))
        js_int = dev.aes(self.nwk_key, dev._pad(b"\x06" + self._le_eui(self.dev_eui)))
        plain = b"".join(dev.aes(js_enc, phy[1 + i:17 + i]) for i in range(0, len(phy) - 1, 16))
        body, mic = plain[:-4], plain[-4:]
        nonce = count.to_bytes(2, "little")
        want = dev.cmac(js_int, bytes([kind]) + self._le_eui(self.join_eui) + nonce + phy[:1] + body)[:4]
        assert mic == want, f"MIC of the accept to a rejoin-request of type {kind}"
        assert body[10] & 0x80, "OptNeg"
        join_nonce = int.from_bytes(body[0:3], "little")
        assert join_nonce > self.join_nonce, "JoinNonce does not rise"
        self.join_nonce = join_nonce

        def key(which, root):
            return dev.aes(root, dev._pad(bytes([which]) + body[0:3] + self._le_eui(self.join_eui) + nonce))
        kept = (self.channels, self.range, self.enabled, self.dl_hz, self.down_dwell, self.rx2_hz, self.dr, self.rx1_offset,
                self.rx2_dr, self.rx_delay)
        self.activate(int.from_bytes(body[6:10], "little"), key(1, self.nwk_key), key(3, self.nwk_key), key(4, self.nwk_key),
                      key(2, self.app_key))
        if kind == 2:
            (self.channels, self.range, self.enabled, self.dl_hz, self.down_dwell, self.rx2_hz, self.dr, self.rx1_offset,
             self.rx2_dr, self.rx_delay) = kept
        else:
            self.rx1_offset, self.rx2_dr = (body[10] >> 4) & 7, body[10] & 15
            self.rx_delay = (body[11] & 15) or 1
            self._cflist(body[12:])
        self.rekey = True

    # ---- radio

    def choose(self):
        """A channel that is on and heard, and a rate that it has."""
        usable = [i for i in self.enabled if i in self.channels and (not self.plan.fixed or i in self.plan.heard)]
        fit = [i for i in usable if self.range[i][0] <= self.dr <= self.range[i][1]]
        if not fit:
            fit = usable
            assert fit, f"no channel is left: {sorted(self.enabled)}"
        self.tx_channel = self.rng.choice(sorted(fit))
        low, high = self.range[self.tx_channel]
        if not low <= self.dr <= high:
            self.dr = low

    def windows(self, delay_s, join=False):
        """delay in ms -> (hz, rate)"""
        hz = self.plan.channels[self.tx_channel] if join else self.channels[self.tx_channel]
        offset, dwell = (0, False) if join else (self.rx1_offset, self.down_dwell)
        rx1 = self.plan.rx1_hz.get(self.tx_channel) or (None if join else self.dl_hz.get(self.tx_channel)) or hz
        rx2 = (self.plan.rx2_hz, self.plan.rx2_dr) if join else (self.rx2_hz, self.rx2_dr)
        return {delay_s * 1000: (rx1, self.plan.down_rates[self.plan.rx1_dr[self.dr, offset, dwell]]),
                delay_s * 1000 + 1000: (rx2[0], self.plan.down_rates[rx2[1]])}

    # ---- MAC

    def _link_adr(self, block):
        enabled = set(self.enabled)
        for content in block:
            control, mask = content[3] >> 4 & 7, int.from_bytes(content[1:3], "little")
            on = {i for i in range(16) if mask >> i & 1}
            if not self.plan.fixed:
                assert control in (0, 6), f"ChMaskCntl {control}"
                enabled = set(self.channels) if control == 6 else on
                assert enabled <= set(self.channels), f"channels that are not there: {sorted(enabled)}"
            elif self.plan.name == "CN470":
                assert control <= 6, f"ChMaskCntl {control}"
                enabled = set(self.channels) if control == 6 else \
                    {i for i in enabled if i // 16 != control} | {16 * control + i for i in on}
            elif control in (6, 7):
                enabled = (set(range(64)) if control == 6 else set()) | {64 + i for i in on if i < 8}
            elif control == 5:
                enabled = {i for b in on if b < 8 for i in [*range(8 * b, 8 * b + 8), 64 + b]}
            else:
                enabled = {i for i in enabled if i // 16 != control} | {16 * control + i for i in on if 16 * control + i < 72}
        assert enabled, "all channels off"
        dr = block[-1][0] >> 4
        if dr != 15:
            assert any(self.range[i][0] <= dr <= self.range[i][1] for i in enabled), f"DR{dr} is in no channel that is on"
        refused = self.rng.choice([0, 0, 0, 0, 0, 0, 0, 1, 2, 4])
        if not refused:
            self.enabled = enabled
            if dr != 15:
                self.dr = dr
        return 7 & ~refused

    def _obey(self, cmds):
        self.sticky = {}  # this is a class A downlink: what was sticky has arrived
        block = []
        for n, (cid, c) in enumerate(cmds):
            if cid == 0x03:
                block.append(c)
                if n + 1 == len(cmds) or cmds[n + 1][0] != 0x03:
                    status = self._link_adr(block)
                    self.answers += bytes([3, status]) * len(block)
                    block = []
                continue
            bad = self.rng.random() < 0.1
            if cid == 0x05:
                if not bad:
                    self.rx1_offset, self.rx2_dr, self.rx2_hz = c[0] >> 4 & 7, c[0] & 15, self.plan.freq(c[1:4])
                self.sticky[cid] = bytes([cid, 6 if bad else 7])
            elif cid == 0x07:
                assert c[0] >= len(self.plan.channels) and not self.plan.fixed, f"NewChannelReq for channel {c[0]}"
                if not bad:
                    self._set_channel(c[0], self.plan.freq(c[1:4]), c[4] & 15, c[4] >> 4)
                self.answers += bytes([cid, 2 if bad else 3])
            elif cid == 0x08:
                self.rx_delay = (c[0] & 15) or 1
                self.sticky[cid] = bytes([cid])
            elif cid == 0x09:
                self.down_dwell = bool(c[0] & 0x20)
                self.sticky[cid] = bytes([cid])
            elif cid == 0x0A:
                if not bad:
                    self.dl_hz[c[0]] = self.plan.freq(c[1:4])
                self.sticky[cid] = bytes([cid, 2 if bad else 3])
            elif cid == 0x06:
                self.answers += b"\x06\xff\x05"
            elif cid in (0x04, 0x0C):
                self.answers += bytes([cid])
            elif cid == 0x0F:
                self.answers += bytes([cid, 1])


class Run:
    """Exchanges of one version in one region."""

    def __init__(self, driver, config, version, seed, rows):
        self.driver, self.config, self.version = driver, config, version
        self.rng = random.Random(f"{seed}/{config}/{version}")
        self.plan = Plan(CONFIGS[config], rows[CONFIGS[config]], version)
        self.count = dict.fromkeys(("frames", "downlinks", "joins", "rejoins", "lost", "repeated", "refused", "requests"), 0)
        self.items = []
        self.dev = None

    def fresh(self):
        d = self.dev = Device(self.rng, self.plan, self.version)
        self.driver.do("device", VERSIONS.index(self.version), self.config, d.dev_eui, d.join_eui, d.nwk_key.hex(), d.app_key.hex())
        self.driver.do("status", self.rng.choice([0, 0, 100, 5000]))

    def window_of(self, items, windows, what):
        assert 1 <= len(items) <= 2, f"{len(items)} windows"
        for delay, hz, rate, inverted, _ in items:
            assert delay in windows, f"{what}: after {delay} ms, not {list(windows)}"
            assert (hz, rate) == windows[delay], f"{what}: {hz} {rate} after {delay} ms, not {windows[delay]}"
            assert rate.startswith("FSK") or inverted == "1", f"{what}: not inverted"
        assert len({i[0] for i in items}) == len(items), "one window twice"

    # ---- exchanges

    def session(self):
        d = self.dev
        self.driver.do("session", f"{d.dev_addr:08x}", d.app_s_key.hex())
        self.items = []

    def join(self):
        d = self.dev
        joinable = sorted(i for i in self.plan.channels if not self.plan.fixed or i in self.plan.heard)
        d.tx_channel = self.rng.choice(joinable)
        low, high = self.plan.range[d.tx_channel]
        d.dr = self.rng.randint(low, high)
        phy = d.join_request()
        said = self.driver.do("up", self.plan.channels[d.tx_channel], self.plan.air[d.dr], 8, phy.hex())
        assert len(said.downs) == 1, f"{len(said.downs)} answers to a join-request"
        self.window_of(said.downs[0], d.windows(self.plan.accept_delay, join=True), "join-accept")
        d.accept(self.rng.choice(said.downs[0])[4])
        self.driver.do("ack", "OK")
        self.session()
        self.driver.do("pass", 7000)
        self.count["joins"] += 1
        self.count["downlinks"] += 1

    def rejoin(self):
        d = self.dev
        kind = self.rng.choice((0, 2))
        d.choose()
        phy, count = d.rejoin_request(kind), d.rj
        windows = d.windows(self.plan.accept_delay)
        said = self.driver.do("up", d.channels[d.tx_channel], self.plan.air[d.dr], 8, phy.hex())
        assert len(said.downs) == 1, f"{len(said.downs)} answers to a rejoin-request of type {kind}"
        self.window_of(said.downs[0], windows, "accept to a rejoin-request")
        d.accept_rejoin(said.downs[0][0][4], kind, count)
        d.rj = 0
        self.driver.do("ack", "OK")
        self.driver.do("pass", 7000)
        self.session()
        self.count["rejoins"] += 1
        self.count["downlinks"] += 1

    def roll(self):
        """Counters shortly before 16 bits or 32 bits are full."""
        d = self.dev
        top = self.rng.choice((1 << 16, 1 << 24, 5 << 16))
        up, n, a = (top - self.rng.randint(1, 6) for _ in range(3))
        d.f_cnt_up, d.next_down = up, {"n": n, "a": a}
        d.ack_down = None
        self.driver.do("counters", up, n, a)
        self.session()

    def downlink(self, said, windows, asked, confirmed):
        d = self.dev
        assert len(said.downs) <= 1, f"{len(said.downs)} downlinks"
        if not said.downs:
            assert not confirmed, "a confirmed uplink was not acknowledged"
            assert not asked, f"no answer to {asked}"
            return
        items = said.downs[0]
        self.window_of(items, windows, "downlink")
        self.count["downlinks"] += 1
        fate = self.rng.random()
        if fate < 0.08:  # no gateway sends it: nobody hears it, its counter is free
            self.driver.do("ack", *["TOO_LATE"] * len(items))
            self.count["refused"] += 1
            return
        taken = self.rng.randrange(len(items))
        got = d.downlink(items[taken][4]) if fate > 0.2 else None
        self.driver.do("ack", *["COLLISION_PACKET"] * taken, "OK")
        if got is None:
            self.count["lost"] += 1
            return
        assert got.ack == confirmed, f"ACK {got.ack} after confirmed {confirmed}"
        assert got.adr or not d.plan, "ADR bit"
        self.count["requests"] += len(got.commands)
        missing = [c for c in asked if c not in got.commands]
        assert not missing or got.f_port > 0 or len(items) > 1, f"not answered: {missing}"
        if got.f_port > 0:
            assert (got.f_port, got.confirmed, got.data) in self.items, f"nobody queued {got.data.hex()} for port {got.f_port}"

    def uplink(self):
        d, rng = self.dev, self.rng
        d.choose()
        confirmed, asked, fopts = rng.random() < 0.3, [], b""
        if rng.random() < 0.2:
            asked, fopts = asked + [0x02], fopts + b"\x02"
        if rng.random() < 0.1 and self.version >= "1.0.3":
            asked, fopts = asked + [0x0D], fopts + b"\x0d"
        if rng.random() < 0.25:
            item = rng.randint(1, 223), rng.random() < 0.3, rng.randbytes(rng.randint(1, 8))
            self.items = self.items[-60:] + [item]
            self.driver.do("queue", item[0], int(item[1]), item[2].hex())
        fopts = b"".join(d.sticky.values()) + fopts
        if len(d.answers) + len(fopts) + 2 * d.rekey > 15:
            fopts, asked = b"".join(d.sticky.values()), []
        room = 15 - len(fopts) - 2 * d.rekey
        if len(d.answers) > room:
            d.answers = b""  # more than fits is cut, as the standard has it
        f_port = rng.choice((None, 1, 77, 223))
        data = rng.randbytes(rng.randint(1, 10)) if f_port is not None else b""
        dr, windows, f_cnt = d.dr, d.windows(d.rx_delay), d.f_cnt_up
        phy = d.uplink(data, f_port, confirmed, fopts, adr=rng.random() < 0.9)
        if rng.random() < 0.08:
            self.count["lost"] += 1
            return
        words = "up", d.channels[d.tx_channel], self.plan.air[dr], rng.randint(0, 14), phy.hex()
        said = self.driver.do(*words)
        assert said.outcomes and said.outcomes[0][0] == DELIVERED, f"not delivered: {said.outcomes} {said.rest}"
        assert len(said.uplinks) == 1, f"{len(said.uplinks)} events"
        event = said.uplinks[0]
        assert event[0] == f_cnt, f"counter {event[0]}, not {f_cnt}"
        assert event[3] == confirmed
        if f_port is not None:
            assert event[1] == f_port
            assert d._crypt(d.app_s_key, dev.UP, f_cnt, event[4]) == data, "payload"
        self.downlink(said, windows, asked, confirmed)
        self.driver.do("pass", rng.choice((3000, 20000, 60000)))
        if rng.random() < 0.06 and d.last_up == f_cnt:
            again = self.driver.do(*words)
            assert not again.uplinks, "a repetition was delivered"
            assert len(again.downs) <= 1
            if confirmed:
                assert again.downs, "a repetition was not acknowledged"
            for items in again.downs:
                self.window_of(items, windows, "answer to a repetition")
                d.downlink(items[0][4])
                self.driver.do("ack", "OK")
            self.count["repeated"] += 1
            self.driver.do("pass", 5000)

    def go(self, n):
        self.fresh()
        self.join()
        for i in range(n):
            fate = self.rng.random()
            if fate < 1 / NEW_SESSION:
                self.fresh() if self.rng.random() < 0.3 else None
                self.join()
            elif fate < 2 / NEW_SESSION and self.version == "1.1.0" and not self.dev.rekey:
                self.rejoin()
            elif fate < 4 / NEW_SESSION:
                self.roll()
            self.uplink()
            self.count["frames"] += 1


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("driver")
    ap.add_argument("--exchanges", type=int, default=300)
    ap.add_argument("--region", action="append")
    ap.add_argument("--version", action="append")
    ap.add_argument("--seed", type=int, default=1)
    args = ap.parse_args()
    rows, failed = facts(), 0
    for config in args.region or CONFIGS:
        for version in args.version or VERSIONS:
            driver, start = Driver(args.driver), time.monotonic()
            run = Run(driver, config, version, args.seed, rows)
            try:
                run.go(args.exchanges)
                text = "ok"
            except (AssertionError, KeyError, IndexError) as e:
                failed += 1
                text = f"FAILED after {run.count['frames']}: {type(e).__name__} {e}\n    " + "\n    ".join(driver.log[-14:])
            if driver.close():
                failed, text = failed + 1, text + " driver's exit code"
            print(f"{config} {version}: {text} {run.count if text == 'ok' else ''} {time.monotonic() - start:.1f} s", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
