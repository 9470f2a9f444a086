"""A LoRaWAN end device, class A, written from the specification on AES alone: an implementation that is not ours.

1.0.x and 1.1, OTAA and ABP. It makes frames and checks what comes down as a device must: MIC, counter, encryption. It
refuses (BadDownlink) what a device would ignore."""

import struct
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.cmac import CMAC

JOIN_REQUEST, JOIN_ACCEPT, UNCONF_UP, UNCONF_DOWN, CONF_UP, CONF_DOWN, REJOIN_REQUEST = range(7)
UP, DOWN = 0, 1
RESET_IND, LINK_CHECK, REKEY, DEVICE_TIME, DEVICE_MODE, DEV_STATUS = 0x01, 0x02, 0x0B, 0x0D, 0x20, 0x06


class BadDownlink(AssertionError):
    """A frame that the device would not take."""


def aes(key, block):
    e = Cipher(algorithms.AES(key), modes.ECB()).encryptor()
    return e.update(block) + e.finalize()


def cmac(key, message):
    c = CMAC(algorithms.AES(key))
    c.update(message)
    return c.finalize()


def _pad(data):
    return data + bytes(-len(data) % 16)


@dataclass(frozen=True)
class Plan:
    """What a device knows of its region: data rates, default channels (index -> Hz), how RX1 and RX2 follow."""
    name: str
    rates: dict            # uplink DR -> datr
    down_rates: dict       # downlink DR -> datr
    channels: dict         # default channels
    dr: int                # the one to use
    rx2_hz: int
    rx2_dr: int

    def rx1(self, hz, dr, offset=0):
        """Hz and datr of RX1 after an uplink."""
        if self.name == "EU868":
            return hz, self.down_rates[max(0, dr - offset)]
        channel = (hz - 902_300_000) // 200_000
        return 923_300_000 + 600_000 * (channel % 8), self.down_rates[max(8, min(13, dr + 10 - offset))]


def _lora(sf, bw):
    return f"SF{sf}BW{bw}"


EU868 = Plan("EU868", {i: _lora(12 - i, 125) for i in range(6)}, {i: _lora(12 - i, 125) for i in range(6)},
             {0: 868_100_000, 1: 868_300_000, 2: 868_500_000}, 5, 869_525_000, 0)
US915 = Plan("US915", {0: "SF10BW125", 1: "SF9BW125", 2: "SF8BW125", 3: "SF7BW125", 4: "SF8BW500"},
             {8 + i: _lora(12 - i, 500) for i in range(6)}, {i: 902_300_000 + 200_000 * i for i in range(8)}, 3, 923_300_000, 8)
PLANS = {"EU868": EU868, "US915": US915}


@dataclass
class Downlink:
    confirmed: bool
    adr: bool
    ack: bool
    fpending: bool
    f_cnt: int
    f_port: int  # -1: none
    data: bytes
    fopts: bytes
    commands: dict = field(default_factory=dict)  # CID -> content of the last one, of FOpts or port 0


DOWN_SIZE = {RESET_IND: 1, LINK_CHECK: 2, 0x03: 4, 0x04: 1, 0x05: 4, DEV_STATUS: 0, 0x07: 5, 0x08: 1, 0x09: 1, 0x0A: 4, REKEY: 1, 0x0C: 1,
             DEVICE_TIME: 5, 0x0E: 2, 0x0F: 1, DEVICE_MODE: 1}


# What a willing device answers to the network's requests; DevStatusAns: external power, margin 0.
ANSWERS = {0x03: b"\x07", 0x04: b"", 0x05: b"\x07", DEV_STATUS: b"\0\0", 0x07: b"\x03", 0x08: b"", 0x09: b"", 0x0A: b"\x03", 0x0C: b""}


def commands(octets):
    """[(CID, content)]"""
    out = []
    while octets:
        n = DOWN_SIZE[octets[0]]
        assert len(octets) > n, f"cut MAC command 0x{octets[0]:02x}"
        out.append((octets[0], octets[1:1 + n]))
        octets = octets[1 + n:]
    return out


class Device:
    def __init__(self, dev_eui, join_eui="70b3d57ed0000000", version="1.0.3", region="EU868", nwk_key=None, app_key=None):
        self.dev_eui, self.join_eui, self.version, self.plan = dev_eui, join_eui, version, PLANS[region]
        self.nwk_key, self.app_key = nwk_key, app_key  # 1.0.x: only nwk_key, which 1.0 calls AppKey
        self.dev_nonce = 0
        self.join_nonce = -1
        self.joins = 0
        self.rj_count = [0, 0]  # RJcount0 (types 0 and 2), RJcount1
        self.rejoined = None    # type and counter of the last rejoin-request
        self.active = False
        self.dr = self.plan.dr
        self.tx_channel = min(self.plan.channels)

    @property
    def is_11(self):
        return self.version.startswith("1.1")

    @property
    def hz(self):
        return self.channels[self.tx_channel] if self.active else self.plan.channels[self.tx_channel]

    @property
    def datr(self):
        return self.plan.rates[self.dr]

    def _le_eui(self, text):
        return bytes.fromhex(text)[::-1]

    # ---- activation

    def join_request(self, nonce=None):
        if nonce is None:
            self.dev_nonce += 1
            nonce = self.dev_nonce
        m = bytes([JOIN_REQUEST << 5]) + self._le_eui(self.join_eui) + self._le_eui(self.dev_eui) + struct.pack("<H", nonce)
        return m + cmac(self.nwk_key, m)[:4]

    def rejoin_request(self, kind, count=None):
        """LoRaWAN 1.1 §6.2.4. Types 0 and 2 are signed by the session, type 1 by the root key; each has its counter."""
        if count is None:
            count = self.rj_count[kind & 1]
        self.rejoined = kind, count
        self.rj_count[kind & 1] = count + 1
        who = self._le_eui(self.join_eui) if kind == 1 else bytes.fromhex(self.net_id)[::-1]
        m = bytes([REJOIN_REQUEST << 5, kind]) + who + self._le_eui(self.dev_eui) + struct.pack("<H", count)
        return m + cmac(aes(self.nwk_key, _pad(b"\x06" + self._le_eui(self.dev_eui))) if kind == 1 else self.s_nwk_s_int, m)[:4]

    def accept(self, phy, rejoin=False):
        """Takes a join-accept; raises BadDownlink when it is not for this device's last request (`rejoin`: rejoin-request)."""
        if len(phy) not in (17, 33) or phy[0] != JOIN_ACCEPT << 5:
            raise BadDownlink(f"no join-accept: {phy.hex()}")
        kind, count = self.rejoined if rejoin else (0xFF, self.dev_nonce)
        enc = aes(self.nwk_key, _pad(b"\x05" + self._le_eui(self.dev_eui))) if rejoin else self.nwk_key
        plain = b"".join(aes(enc, phy[1 + i:17 + i]) for i in range(0, len(phy) - 1, 16))
        body, mic = plain[:-4], plain[-4:]
        nonce = struct.pack("<H", count)
        opt_neg = body[10] & 0x80
        assert opt_neg or not rejoin
        if opt_neg:
            assert self.is_11, "OptNeg for a 1.0 device"
            js_int = aes(self.nwk_key, _pad(b"\x06" + self._le_eui(self.dev_eui)))
            want = cmac(js_int, bytes([kind]) + self._le_eui(self.join_eui) + nonce + phy[:1] + body)[:4]
        else:
            want = cmac(self.nwk_key, phy[:1] + body)[:4]
        if mic != want:
            raise BadDownlink("MIC of the join-accept")
        join_nonce = int.from_bytes(body[0:3], "little")
        if self.is_11 and join_nonce <= self.join_nonce:
            raise BadDownlink("JoinNonce does not rise")
        self.join_nonce = join_nonce
        if opt_neg:
            def key(kind, root):
                return aes(root, _pad(bytes([kind]) + body[0:3] + self._le_eui(self.join_eui) + nonce))
            keys = key(1, self.nwk_key), key(3, self.nwk_key), key(4, self.nwk_key), key(2, self.app_key)
        else:
            def key(kind):
                return aes(self.nwk_key, _pad(bytes([kind]) + body[0:6] + nonce))
            keys = (key(1),) * 3 + (key(2),)
        kept = {k: getattr(self, k, None) for k in ("channels", "rx1_offset", "rx2_dr", "rx_delay", "cflist", "dr")}
        self.activate(int.from_bytes(body[6:10], "little"), *keys)
        self.net_id = body[5:2:-1].hex()
        self.rx1_offset, self.rx2_dr = (body[10] >> 4) & 7, body[10] & 15
        self.rx_delay = (body[11] & 15) or 1
        self._cflist(body[12:])
        if kind == 2:  # keys and counters only
            self.__dict__.update(kept)
        self.rj_count[0] = 0
        self.rekey = bool(opt_neg)
        self.joins += 1

    def _cflist(self, cflist):
        self.cflist = cflist
        if not cflist:
            return
        if cflist[15] == 0:
            for i in range(5):
                hz = int.from_bytes(cflist[3 * i:3 * i + 3], "little") * 100
                if hz:
                    self.channels[len(self.plan.channels) + i] = hz
        elif cflist[15] == 1 and self.plan is US915:
            mask = int.from_bytes(cflist[0:10], "little")
            self.channels = {i: 902_300_000 + 200_000 * i for i in range(64) if mask >> i & 1}

    def activate(self, dev_addr, f_nwk_s_int, s_nwk_s_int, nwk_s_enc, app_s_key):
        self.dev_addr = dev_addr
        self.f_nwk_s_int, self.s_nwk_s_int, self.nwk_s_enc, self.app_s_key = f_nwk_s_int, s_nwk_s_int, nwk_s_enc, app_s_key
        self.f_cnt_up = 0
        self.next_down = {"n": 0, "a": 0}  # 1.0.x: only "n"
        self.ack_down = None               # counter of a confirmed downlink that is to be acknowledged
        self.last_up_conf = 0
        self.channels = dict(self.plan.channels)
        self.rekey = False
        self.answers = b""  # MAC answers for the next uplink
        self.rx1_offset, self.rx2_dr, self.rx_delay = 0, self.plan.rx2_dr, 1
        self.active = True

    # ---- data

    def _b(self, head, direction, f_cnt, last):
        return head + bytes([direction]) + struct.pack("<II", self.dev_addr, f_cnt) + bytes([0, last])

    def _crypt(self, key, direction, f_cnt, data):
        stream = b"".join(aes(key, self._b(b"\x01\0\0\0\0", direction, f_cnt, i + 1)) for i in range((len(data) + 15) // 16))
        return bytes(a ^ b for a, b in zip(data, stream))

    def _crypt_fopts(self, direction, f_cnt, application_counter, fopts):
        block = aes(self.nwk_s_enc, self._b(bytes([1, 0, 0, 0, 2 if application_counter else 1]), direction, f_cnt, 1))
        return bytes(a ^ b for a, b in zip(fopts, block))

    def _mic_up(self, msg, f_cnt, conf):
        plain = cmac(self.f_nwk_s_int, self._b(b"\x49\0\0\0\0", UP, f_cnt, len(msg)) + msg)
        if not self.is_11:
            return plain[:4]
        head = b"\x49" + struct.pack("<HBB", conf, self.dr, self.tx_channel)
        return cmac(self.s_nwk_s_int, self._b(head, UP, f_cnt, len(msg)) + msg)[:2] + plain[:2]

    def uplink(self, data=b"", f_port=1, confirmed=False, fopts=b"", adr=False, f_cnt=None, commands_on_port_0=b"",
               adr_ack_req=False):
        """The next uplink. f_cnt: that one instead, as an attacker would."""
        repeat = f_cnt is not None
        if not repeat:
            f_cnt = self.f_cnt_up
            self.f_cnt_up += 1
        if not repeat:
            fopts, self.answers = self.answers + fopts, b""
        if self.is_11 and self.rekey:
            fopts = bytes([REKEY, 1]) + fopts
        if commands_on_port_0:  # then nothing goes into FOpts
            commands_on_port_0, fopts = fopts + commands_on_port_0, b""
        ack, conf = self.ack_down is not None, (self.ack_down or 0) & 0xFFFF
        fctrl = (adr << 7) | (adr_ack_req << 6) | (ack << 5) | len(fopts)
        if self.is_11 and fopts:
            fopts = self._crypt_fopts(UP, f_cnt, False, fopts)
        m = bytes([(CONF_UP if confirmed else UNCONF_UP) << 5]) + struct.pack("<IBH", self.dev_addr, fctrl, f_cnt & 0xFFFF) + fopts
        if commands_on_port_0:
            m += b"\0" + self._crypt(self.nwk_s_enc, UP, f_cnt, commands_on_port_0)
        elif f_port is not None:
            m += bytes([f_port]) + self._crypt(self.app_s_key, UP, f_cnt, data)
        if not repeat:
            self.ack_down = None
            self.last_up = f_cnt
        return m + self._mic_up(m, f_cnt, conf)

    def _obey(self, cmds):
        for cid, content in cmds:
            if cid == 0x07:  # NewChannelReq
                self.channels[content[0]] = int.from_bytes(content[1:4], "little") * 100
            if cid in ANSWERS:
                self.answers += bytes([cid]) + ANSWERS[cid]

    def _counter(self, low, application):
        key = "a" if self.is_11 and application else "n"
        f_cnt = (self.next_down[key] & ~0xFFFF) | low
        if f_cnt < self.next_down[key]:
            f_cnt += 0x10000
        if f_cnt - self.next_down[key] > 16384:
            raise BadDownlink(f"FCntDown {low}: {self.next_down[key]} is the next")
        return key, f_cnt

    def downlink(self, phy):
        """Takes a data downlink as a device does, and moves its counters."""
        mtype = phy[0] >> 5
        if mtype not in (UNCONF_DOWN, CONF_DOWN):
            raise BadDownlink(f"no data downlink: {phy.hex()}")
        addr, fctrl, low = struct.unpack("<IBH", phy[1:8])
        if addr != self.dev_addr:
            raise BadDownlink(f"for {addr:08x}")
        fopts, rest = phy[8:8 + (fctrl & 15)], phy[8 + (fctrl & 15):-4]
        f_port = rest[0] if rest else -1
        key, f_cnt = self._counter(low, f_port > 0)
        ack = bool(fctrl & 0x20)
        conf = self.last_up & 0xFFFF if ack and self.is_11 else 0
        mic_key = self.s_nwk_s_int if self.is_11 else self.f_nwk_s_int
        head = b"\x49" + struct.pack("<H", conf) + b"\0\0"
        if cmac(mic_key, self._b(head, DOWN, f_cnt, len(phy) - 4) + phy[:-4])[:4] != phy[-4:]:
            raise BadDownlink(f"MIC of {phy.hex()}")
        self.next_down[key] = f_cnt + 1
        if self.is_11 and fopts:
            fopts = self._crypt_fopts(DOWN, f_cnt, f_port > 0, fopts)
        data = self._crypt(self.nwk_s_enc if f_port == 0 else self.app_s_key, DOWN, f_cnt, rest[1:]) if rest else b""
        d = Downlink(mtype == CONF_DOWN, bool(fctrl & 0x80), ack, bool(fctrl & 0x10), f_cnt, f_port, data, fopts)
        cmds = commands(fopts) + (commands(data) if f_port == 0 else [])
        d.commands = dict(cmds)
        self._obey(cmds)
        if REKEY in d.commands:
            self.rekey = False
        if d.confirmed:
            self.ack_down = f_cnt
        return d
