"""The end-device of exchange.py: what tests/e2e's device leaves out. It knows its region from tests/vectors/regions/regions.tsv,
obeys or refuses every MAC command, and remembers what it has, to be compared with what the network thinks."""

import functools
import sys
from pathlib import Path

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.cmac import CMAC

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/e2e"))
sys.dont_write_bytecode = True

from lw import device as dev  # noqa: E402

REQUESTS = {0x03: "LinkADR", 0x04: "DutyCycle", 0x05: "RXParamSetup", 0x06: "DevStatus", 0x07: "NewChannel", 0x08: "RXTimingSetup",
            0x09: "TxParamSetup", 0x0A: "DlChannel", 0x0C: "ADRParamSetup", 0x0E: "ForceRejoin", 0x0F: "RejoinParamSetup",
            0x11: "PingSlotChannel", 0x13: "BeaconFreq", 0x80: "proprietary"}
ASKED = {0x01: "Reset", 0x02: "LinkCheck", 0x0B: "Rekey", 0x0D: "DeviceTime", 0x10: "PingSlotInfo", 0x12: "BeaconTiming",
         0x20: "DeviceMode"}
NAMES = {**REQUESTS, **ASKED}
dev.DOWN_SIZE = {**dev.DOWN_SIZE, 0x10: 0, 0x11: 4, 0x12: 3, 0x13: 3, 0x80: 2}


@functools.lru_cache(512)
def _ecb(key):
    return Cipher(algorithms.AES(key), modes.ECB()).encryptor()


@functools.lru_cache(512)
def _cmac(key):
    return CMAC(algorithms.AES(key))


def aes(key, block):
    return _ecb(key).update(block)


def cmac(key, message):
    c = _cmac(key).copy()
    c.update(message)
    return c.finalize()


dev.aes, dev.cmac = aes, cmac  # a context for each key is made once: half of a frame's time


def facts():
    out = {}
    for line in (ROOT / "tests/vectors/regions/regions.tsv").read_text().splitlines():
        c = line.split("\t")
        if len(c) > 4 and not line.startswith("#"):
            out.setdefault(c[0], {}).setdefault(c[1], []).append((c[2], c[3], c[4], c[7] if len(c) > 7 else ""))
    return out


def number(text):
    return int("".join(ch for ch in text if ch.isdigit()))


class Plan:
    """What a device knows of its region; the fields of lw.device.Plan."""

    def __init__(self, name, rows, version):
        self.name = name
        param = {k: v for k, _, v, _ in rows["param"]}
        self.rx2_hz, self.rx2_dr = int(param["rx2_frequency"]), int(param["rx2_dr"])
        self.step = int(param["freq_step_in_24bit_fields"])
        self.accept_delay = int(param["join_accept_delay1"])
        self.tx_params = param["tx_param_setup_req"] != "no"  # disputed in one
        self.max_offset = int(param["max_rx1_dr_offset"])
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
        # Where further channels can be: two channels never share a frequency, it would not say which one was meant.
        self.grid = [hz for k in range(-40, 40) if (hz := min(self.channels.values()) + 100000 * k) not in self.channels.values() and
                     int(param["freq_min"]) <= hz <= int(param["freq_max"])]
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
        if (name.startswith("AS923") or name == "IN865") and version != "1.0.4":  # before RP002 no higher than DR5
            self.rx1_dr = {at: min(5, dr) for at, dr in self.rx1_dr.items()}
        if name == "AU915" and version in ("1.0.0", "1.0.1"):
            self._legacy_au915(rows)
        self.dr = min(r[0] for r in self.range.values())
        # One source has RP002's sizes of CN470 for 1.0.0 too, with nothing in DR0.
        self.max_size = self._sizes(rows, "1.0.1" if name == "CN470" and version == "1.0.0" else version)
        # What all revisions have, and where something fits in.
        self.some_down_drs = sorted({dr for dr in self.rx1_dr.values() if dr in self.down_rates and self.max_size.get((dr, False), 0) > 5 and
                                     (dr < 8 or name in ("US915", "AU915"))})

    def _legacy_au915(self, rows):
        """The rates that AU915 had at first, those of US915, with its RX1."""
        new = {what: dr for dr, what in self.rates.items()}
        self.rates = {int(dr): what for dr, _, what, _ in rows["dr_legacy_1.0.1_1.0.2A"]}
        self.air = {dr: new[what] for dr, what in self.rates.items()}
        self.range = {i: (0, 3) if i < 64 else (4, 4) for i in self.channels}
        self.rx1_dr = {(dr, offset, dwell): max(8, min(13, 10 + dr - offset))
                       for dr in range(5) for offset in range(4) for dwell in (False, True)}
        self.max_offset = 3

    def _sizes(self, rows, version):
        """(downlink DR, dwell) -> octets of a whole frame; of all revisions of the version the largest."""
        out, self.min_size = {}, {}
        for dr, rest, value, note in rows["max_payload_downlink"]:
            if "repeater=true" in rest or version + ":" not in note:
                continue
            dwell = rest.split()[0].split("=")[1]
            for on in ([False, True] if dwell == "any" else [dwell == "true"]):
                at = number(dr), on
                size = int(value.split("/")[0]) + 5
                out[at] = max(out.get(at, 0), size)
                self.min_size[at] = min(self.min_size.get(at, 255), size)
        return out

    def freq(self, octets):
        return int.from_bytes(octets, "little") * self.step


class Device(dev.Device):
    # What a rejoin-request of type 2 leaves alone: all but keys and counters.
    RADIO = ("channels", "range", "enabled", "dl_hz", "up_dwell", "down_dwell", "eirp", "rx1_offset", "rx2_dr", "rx2_hz", "rx_delay",
             "dr", "power", "nb", "duty", "limit", "adr_delay", "rejoin_time", "rejoin_count", "beacon_hz", "ping_hz", "ping_dr",
             "ping_nb", "cls", "answers", "sticky", "status", "foreign", "link_answer", "mask_answer", "link_unsure",
             "mode_ind", "adr")

    def __init__(self, rng, plan, version):
        self.rng = rng
        dev.PLANS[plan.name] = plan
        super().__init__(rng.randbytes(8).hex(), rng.randbytes(8).hex(), version, plan.name, rng.randbytes(16), rng.randbytes(16))
        self.deaf = False
        self.class_b = self.class_c = False
        self.force_rejoin = None
        self.otaa = True
        self.last_up = 0
        self.trace = []

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

    def factory(self):
        """What MAC commands and join-accepts change, as it was made. None: nobody has said."""
        self.channels = dict(self.plan.channels)
        self.range = dict(self.plan.range)
        self.enabled = set(self.plan.channels)
        self.dl_hz, self.sticky, self.answers = {}, {}, b""
        # It took a LinkADRReq, or the masks of one; and the answer was lost.
        self.link_answer = self.mask_answer = self.link_unsure = False
        self.status, self.foreign = [], b""  # what the next uplink says of DevStatus; proprietary answers
        self.down_dwell, self.up_dwell, self.eirp = False, None, None
        self.rx1_offset, self.rx2_hz, self.rx2_dr, self.rx_delay = 0, self.plan.rx2_hz, self.plan.rx2_dr, 1
        self.dr, self.power, self.nb, self.adr = self.plan.dr, 0, 1, True
        self.duty = self.limit = self.adr_delay = self.rejoin_time = self.rejoin_count = None
        self.beacon_hz = self.ping_hz = self.ping_dr = self.ping_nb = None
        self.cls = 2 if self.class_c and not self.is_11 else 0
        self.mode_ind = None

    def activate(self, *session):
        super().activate(*session)
        self.factory()
        self.reset_ind = False

    def boot(self):
        """A 1.1 ABP device lost all but keys and counters."""
        self.factory()
        self.ack_down = None
        self.reset_ind = True

    def accept_rejoin(self, phy):
        """A join-accept to a rejoin-request: keys from JSEncKey, JSIntKey and RJcount."""
        kind, count = self.rejoined
        assert len(phy) in (17, 33) and phy[0] == 0x20, f"no join-accept: {phy.hex()}"
        js_enc = aes(self.nwk_key, dev._pad(b"\x05" + self._le_eui(self.dev_eui)))
        js_int = aes(self.nwk_key, dev._pad(b"\x06" + self._le_eui(self.dev_eui)))
        plain = b"".join(aes(js_enc, phy[1 + i:17 + i]) for i in range(0, len(phy) - 1, 16))
        body, mic = plain[:-4], plain[-4:]
        nonce = count.to_bytes(2, "little")
        want = cmac(js_int, bytes([kind]) + self._le_eui(self.join_eui) + nonce + phy[:1] + body)[:4]
        assert mic == want, f"MIC of the accept to a rejoin-request of type {kind}"
        assert body[10] & 0x80, "OptNeg"
        join_nonce = int.from_bytes(body[0:3], "little")
        assert join_nonce > self.join_nonce, "JoinNonce does not rise"
        self.join_nonce = join_nonce

        def key(which, root):
            return aes(root, dev._pad(bytes([which]) + body[0:3] + self._le_eui(self.join_eui) + nonce))
        kept = {k: getattr(self, k) for k in self.RADIO}
        self.activate(int.from_bytes(body[6:10], "little"), key(1, self.nwk_key), key(3, self.nwk_key), key(4, self.nwk_key),
                      key(2, self.app_key))
        self.net_id = body[5:2:-1].hex()
        if kind == 2:
            self.__dict__.update(kept)
        else:
            self.rx1_offset, self.rx2_dr = (body[10] >> 4) & 7, body[10] & 15
            self.rx_delay = (body[11] & 15) or 1
            self._cflist(body[12:])
        self.rj_count[0] = 0
        self.rekey = True

    # ---- radio

    def choose(self):
        """A channel that is on and heard, and a rate that it has."""
        usable = [i for i in self.enabled if i in self.channels and (not self.plan.fixed or i in self.plan.heard)]
        least = 2 if self.up_dwell else 0
        fit = [i for i in usable if max(least, self.range[i][0]) <= self.dr <= self.range[i][1]]
        if not fit:
            fit = [i for i in usable if self.range[i][1] >= least]
            assert fit, f"no channel is left: {sorted(self.enabled)}"
        self.tx_channel = self.rng.choice(sorted(fit))
        low, high = self.range[self.tx_channel]
        if not max(least, low) <= self.dr <= high:
            if self.dr > max(least, low):
                self.power = 0  # slower by itself: full power comes before that
            self.dr = max(least, low)

    def windows(self, delay_s, join=False):
        """delay in ms -> (hz, DR)"""
        hz = self.plan.channels[self.tx_channel] if join else self.channels[self.tx_channel]
        offset, dwell = (0, False) if join else (self.rx1_offset, self.down_dwell)
        rx1 = self.plan.rx1_hz.get(self.tx_channel) or (None if join else self.dl_hz.get(self.tx_channel)) or hz
        rx2 = (self.plan.rx2_hz, self.plan.rx2_dr) if join else (self.rx2_hz, self.rx2_dr)
        return {delay_s * 1000: (rx1, self.plan.rx1_dr[self.dr, offset, dwell]), delay_s * 1000 + 1000: rx2}

    def try_downlink(self, phy):
        """Reads a downlink that is not heard: MIC, counter, encryption; nothing changes."""
        kept = dict(self.next_down), self.ack_down, self.rekey
        self.deaf = True
        try:
            return self.downlink(phy)
        finally:
            self.deaf = False
            self.next_down, self.ack_down, self.rekey = kept

    # ---- MAC

    def _masks(self, block):
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
        return enabled

    def _link_adr(self, block):
        enabled = self._masks(block)
        assert enabled, "all channels off"
        dr, power, nb = block[-1][0] >> 4, block[-1][0] & 15, block[-1][3] & 15
        if dr != 15:
            assert any(self.range[i][0] <= dr <= self.range[i][1] for i in enabled), f"DR{dr} is in no channel that is on"
        if not self.adr:  # TS001-1.0.4 §4.3.1.1: the mask alone counts
            self.enabled, self.mask_answer = enabled, True
            return 1
        refused = self.rng.choice([0, 0, 0, 0, 0, 0, 0, 1, 2, 4])
        same = {1: enabled == self.enabled, 2: dr == self.dr, 4: power in (0, self.power)}
        if same.get(refused):
            refused = 0  # full power, and what it has already, a device must take
        self.link_answer = refused == 0
        if not refused:
            self.enabled = enabled
            self.dr = dr if dr != 15 else self.dr
            self.power = power if power != 15 else self.power
            self.nb = nb or 1
        self.trace.append((self.f_cnt_up, [b.hex() for b in block], 7 & ~refused))
        return 7 & ~refused

    def _obey(self, cmds):
        if self.deaf:
            return
        if not self.at_any_time:
            self.sticky = {}  # this is a class A downlink: what was sticky has arrived
        block, sticky = [], {}
        for n, (cid, c) in enumerate(cmds):
            assert not self.at_any_time or cid not in REQUESTS, f"{NAMES[cid]}Req outside of the windows of an uplink"
            if cid == 0x03:
                block.append(c)
                if n + 1 == len(cmds) or cmds[n + 1][0] != 0x03:
                    status = self._link_adr(block)
                    self.answers += bytes([3, status]) * len(block)
                    block = []
            elif cid in self.STICKY:
                sticky[cid] = sticky.get(cid, b"") + bytes([cid]) + self.STICKY[cid](self, c, self._refuses())
            elif cid in self.ANSWERED:
                self.answers += bytes([cid]) + self.ANSWERED[cid](self, c, self._refuses())
            elif cid == 0x80:
                self.foreign += bytes([cid, c[0] ^ c[1]])
            elif cid == dev.RESET_IND:
                self.reset_ind = False
            elif cid == dev.DEVICE_MODE:
                assert c[0] == self.cls, f"DeviceModeConf for class {c[0]}"
                self.mode_ind = None
            elif cid == 0x0E:
                self.force_rejoin = c[0] >> 4 & 7
        self.sticky.update(sticky)

    def _refuses(self):
        return self.rng.random() < 0.1

    def _rx_param(self, c, bad):
        if bad and (self.rx1_offset, self.rx2_dr, self.rx2_hz) != (c[0] >> 4 & 7, c[0] & 15, self.plan.freq(c[1:4])):
            return bytes([self.rng.choice((3, 5, 6))])
        self.rx1_offset, self.rx2_dr, self.rx2_hz = c[0] >> 4 & 7, c[0] & 15, self.plan.freq(c[1:4])
        return b"\x07"

    def _rx_timing(self, c, _):
        self.rx_delay = (c[0] & 15) or 1
        return b""

    def _tx_param(self, c, _):
        assert self.plan.tx_params, "TxParamSetupReq in a region without it"
        self.down_dwell, self.up_dwell, self.eirp = bool(c[0] & 0x20), bool(c[0] & 0x10), c[0] & 15
        return b""

    def _dl_channel(self, c, bad):
        assert c[0] in self.channels and not self.plan.fixed, f"DlChannelReq for channel {c[0]}"
        if bad and self.dl_hz.get(c[0]) != self.plan.freq(c[1:4]):
            return b"\x02"
        self.dl_hz[c[0]] = self.plan.freq(c[1:4])
        return b"\x03"

    def _duty_cycle(self, c, _):
        self.duty = c[0] & 15
        return b""

    def _status(self, c, _):
        margin, battery = self.rng.randrange(-32, 32), self.rng.randrange(256)
        self.status.append((margin, battery))
        return bytes([battery, margin & 0x3F])

    def _new_channel(self, c, bad):
        assert c[0] >= len(self.plan.channels) and not self.plan.fixed, f"NewChannelReq for channel {c[0]}"
        same = c[0] in self.channels and (self.channels[c[0]], self.range[c[0]]) == (self.plan.freq(c[1:4]), (c[4] & 15, c[4] >> 4))
        if bad and not same:
            return bytes([self.rng.choice((0, 1, 2))])
        self._set_channel(c[0], self.plan.freq(c[1:4]), c[4] & 15, c[4] >> 4)
        return b"\x03"

    def _adr_param(self, c, _):
        assert self.is_11
        self.limit, self.adr_delay = c[0] >> 4, c[0] & 15
        return b""

    def _rejoin_param(self, c, bad):
        assert self.is_11
        self.rejoin_count = c[0] & 15
        if bad and self.rejoin_time != c[0] >> 4:
            return b"\x00"
        self.rejoin_time = c[0] >> 4
        return b"\x01"

    def _ping_slot(self, c, bad):
        assert self.class_b, "PingSlotChannelReq to a device that is of class A"
        if bad and (self.ping_hz, self.ping_dr) != (self.plan.freq(c[0:3]), c[3] & 15):
            return bytes([self.rng.choice((1, 2))])
        self.ping_hz, self.ping_dr = self.plan.freq(c[0:3]), c[3] & 15
        return b"\x03"

    def _beacon(self, c, bad):
        assert self.class_b, "BeaconFreqReq to a device that is of class A"
        if bad and self.beacon_hz != self.plan.freq(c[0:3]):
            return b"\x00"
        self.beacon_hz = self.plan.freq(c[0:3])
        return b"\x01"

    at_any_time = False  # class C: not in a window of an uplink
    STICKY = {0x05: _rx_param, 0x08: _rx_timing, 0x09: _tx_param, 0x0A: _dl_channel}
    ANSWERED = {0x04: _duty_cycle, 0x06: _status, 0x07: _new_channel, 0x0C: _adr_param, 0x0F: _rejoin_param, 0x11: _ping_slot,
                0x13: _beacon}
