#!/usr/bin/python3
"""Writes recorded.tsv and synthetic.tsv of this folder, the golden vectors of tests/unit/common/lorawan/test_vectors.c.

recorded.tsv   frames that a reference network and an independent device exchanged, from the project's recordings
               (argument: the folder with eu868.json and us915_0.json), with the plain texts the device saw.
synthetic.tsv  frames computed here, with python3-cryptography, from the text of TS001-1.0.4 and TS001-1.1:
               an implementation that shares nothing with common/lorawan.

Fields are separated by tabs, "-" stands for empty:
  join_request  key join_eui dev_eui dev_nonce phy
  join_accept   nwk_key app_key js_int js_enc join_eui dev_eui dev_nonce opt_neg join_nonce netid devaddr dl_settings rx_delay cflist phy
                f_nwk_s_int s_nwk_s_int nwk_s_enc app_s
  data          version dir f_nwk_s_int s_nwk_s_int nwk_s_enc app_s fcnt conf_fcnt tx_dr tx_ch phy fopts fport frm
  rejoin        key type netid|join_eui dev_eui rj_count phy
"""
import json
import random
import sys
from pathlib import Path

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.cmac import CMAC

HERE = Path(__file__).resolve().parent


def ecb(key, data, decrypt=False):
    c = Cipher(algorithms.AES(key), modes.ECB())
    op = c.decryptor() if decrypt else c.encryptor()
    return op.update(data) + op.finalize()


def cmac(key, data):
    c = CMAC(algorithms.AES(key))
    c.update(data)
    return c.finalize()


def le(v, n):
    return v.to_bytes(n, "little")


def block(conf, dr, ch, direction, devaddr, fcnt, length):
    return b"\x49" + le(conf, 2) + bytes([dr, ch, direction]) + le(devaddr, 4) + le(fcnt, 4) + bytes([0, length])


def data_mic(version, direction, keys, devaddr, fcnt, conf, dr, ch, msg):
    if version == 10:
        return cmac(keys["f"], block(0, 0, 0, direction, devaddr, fcnt, len(msg)) + msg)[:4]
    if direction:
        return cmac(keys["s"], block(conf, 0, 0, 1, devaddr, fcnt, len(msg)) + msg)[:4]
    s = cmac(keys["s"], block(conf, dr, ch, 0, devaddr, fcnt, len(msg)) + msg)
    f = cmac(keys["f"], block(0, 0, 0, 0, devaddr, fcnt, len(msg)) + msg)
    return s[:2] + f[:2]


def crypt(key, direction, devaddr, fcnt, data, kind=0):
    out = b""
    for i in range(0, len(data), 16):
        a = b"\x01\0\0\0" + bytes([kind, direction]) + le(devaddr, 4) + le(fcnt, 4) + bytes([0, i // 16 + 1])
        out += bytes(x ^ y for x, y in zip(data[i:i + 16], ecb(key, a)))
    return out


def text(v):
    if v is None:
        return "-"
    if isinstance(v, bytes):
        return v.hex() or "-"
    return str(v)


def row(*fields):
    return "\t".join(text(f) for f in fields) + "\n"


def session(version, nwk, app, nonce, netid, join_eui, dev_nonce):
    if version == 10:
        tail = le(nonce, 3) + le(netid, 3) + le(dev_nonce, 2) + bytes(7)
        n = ecb(nwk, b"\x01" + tail)
        return {"f": n, "s": n, "e": n, "a": ecb(app, b"\x02" + tail)}
    tail = le(nonce, 3) + join_eui[::-1] + le(dev_nonce, 2) + bytes(2)
    return {"f": ecb(nwk, b"\x01" + tail), "s": ecb(nwk, b"\x03" + tail), "e": ecb(nwk, b"\x04" + tail),
            "a": ecb(app, b"\x02" + tail)}


def js_keys(nwk, dev_eui):
    return ecb(nwk, b"\x06" + dev_eui[::-1] + bytes(7)), ecb(nwk, b"\x05" + dev_eui[::-1] + bytes(7))


def data_row(version, direction, keys, fcnt, conf, dr, ch, phy, fopts, fport, frm):
    return row("data", version, "down" if direction else "up", keys["f"], keys["s"], keys["e"], keys["a"], fcnt, conf,
               dr, ch, phy, fopts, fport, frm)


def split(phy):
    n = phy[5] & 15
    fopts, rest = phy[8:8 + n], phy[8 + n:-4]
    return int.from_bytes(phy[1:5], "little"), int.from_bytes(phy[6:8], "little"), fopts, rest[0] if rest else None, rest[1:]


def plain(version, direction, keys, devaddr, fcnt, fopts, fport, frm):
    if version == 11:
        kind = 2 if direction and fport else 1
        fopts = crypt(keys["e"], direction, devaddr, fcnt, fopts, kind)
    key = keys["e"] if fport == 0 else keys["a"]
    return fopts, crypt(key, direction, devaddr, fcnt, frm)


def recorded_story(story, channels):
    """Rows of one story. A frame that the recording means to be wrong (MIC) is left out: its MIC fits no counter here."""
    version = 11 if story["mac_version"] == "LORAWAN_1_1_0" else 10
    keys, join = None, None
    out = []
    if "keys" in story:
        k = {n: bytes.fromhex(v) for n, v in story["keys"].items()}
    act = story.get("activation") or story.get("activation_at_end")
    if "keys" not in story and act:
        act = {n.replace("_", "").lower(): v for n, v in act.items()}
        nwk = act.get("nwkskey", act.get("nwksenckey"))
        keys = {"f": bytes.fromhex(act.get("fnwksintkey", nwk)), "s": bytes.fromhex(act.get("snwksintkey", nwk)),
                "e": bytes.fromhex(nwk), "a": bytes.fromhex(act["appskey"])}
    last_up, conf_down, conf_up = 0, 0, None
    for step in story["steps"]:
        up = step.get("up")
        if up and up.get("phy"):
            phy = bytes.fromhex(up["phy"])
            mtype = phy[0] >> 5
            if mtype == 0:
                join = phy
                root = k["nwk_key"]
                if cmac(root, phy[:-4])[:4] == phy[-4:]:
                    out.append(row("join_request", root, phy[1:9][::-1], phy[9:17][::-1],
                                   int.from_bytes(phy[17:19], "little"), phy))
            elif mtype in (2, 4) and keys and len(phy) >= 12:
                devaddr, f16, fopts, fport, frm = split(phy)
                ch = channels.get(up["frequency"], 0)
                # conf: the counter of the confirmed downlink that is acknowledged
                conf = conf_down if phy[5] & 0x20 else 0
                for full in ((last_up & ~0xFFFF) | f16, ((last_up & ~0xFFFF) + 0x10000) | f16):
                    if data_mic(version, 0, keys, devaddr, full, conf, up["dr"], ch, phy[:-4]) == phy[-4:]:
                        p = plain(version, 0, keys, devaddr, full, fopts, fport, frm)
                        out.append(data_row(version, 0, keys, full, conf, up["dr"], ch, phy, p[0], fport, p[1]))
                        last_up, conf_up = full, full if mtype == 4 else None
                        break
        device = step.get("device")
        for down in step.get("down") or []:
            phy = bytes.fromhex(down["items"][0]["phy"])
            if phy[0] >> 5 == 1 and device and "join_nonce" in device:
                js = js_keys(k["nwk_key"], join[9:17][::-1])
                dl = device["opt_neg"] << 7 | device["rx1_dr_offset"] << 4 | device["rx2_dr"]
                keys = {"f": bytes.fromhex(device["f_nwk_s_int_key"]), "s": bytes.fromhex(device["s_nwk_s_int_key"]),
                        "e": bytes.fromhex(device["nwk_s_enc_key"]), "a": bytes.fromhex(device["app_s_key"])}
                out.append(row("join_accept", k["nwk_key"], k["app_key"], js[0], js[1], join[1:9][::-1], join[9:17][::-1],
                               int.from_bytes(join[17:19], "little"), int(device["opt_neg"]), device["join_nonce"],
                               "%06x" % device["net_id"], device["dev_addr"], dl, device["rx_delay"],
                               device["cf_list"] or None, phy, keys["f"], keys["s"], keys["e"], keys["a"]))
                last_up = 0
            elif phy[0] >> 5 in (3, 5) and keys and device and "fcnt" in device:
                devaddr, f16, fopts, fport, frm = split(phy)
                full = device["fcnt"]
                conf = conf_up if phy[5] & 0x20 and conf_up is not None else 0
                if data_mic(version, 1, keys, devaddr, full, conf & 0xFFFF, 0, 0, phy[:-4]) != phy[-4:]:
                    continue
                if phy[0] >> 5 == 5:
                    conf_down = full & 0xFFFF
                out.append(data_row(version, 1, keys, full, conf & 0xFFFF, 0, 0, phy, bytes.fromhex(device["fopts"]),
                                    device["fport"], bytes.fromhex(device["data"])))
    return out


def recorded(folder):
    out = []
    for name, base, step in (("eu868", 868100000, 200000), ("us915_0", 902300000, 200000)):
        recording = json.loads((folder / (name + ".json")).read_text())
        channels = {base + step * i: i for i in range(3 if name == "eu868" else 64)}
        for story in recording["stories"]:
            rows = recorded_story(story, channels)
            out.append("# %s: %s, %s\n" % (name, story["story"], story["mac_version"]))
            out += sorted(set(rows), key=rows.index)
    return out


def synthetic():
    rnd = random.Random(20241122)
    out = []
    for version in (10, 11):
        for mtype in (2, 3, 4, 5):
            for n_fopts, fport, n_frm in ((0, None, 0), (0, 1, 0), (0, 1, 1), (15, 223, 16), (3, 10, 17), (1, None, 0),
                                          (0, 0, 33), (0, 2, 222), (0, 7, 242)):
                direction = mtype & 1
                one = rnd.randbytes(16)
                keys = dict(zip("fsea", (one, one, one, rnd.randbytes(16)) if version == 10 else
                                (rnd.randbytes(16) for _ in range(4))))
                devaddr, fcnt = rnd.getrandbits(32), rnd.getrandbits(32)
                conf = rnd.getrandbits(16) if version == 11 else 0
                dr, ch = (rnd.randrange(14), rnd.randrange(72)) if version == 11 and not direction else (0, 0)
                fopts, frm = rnd.randbytes(n_fopts), rnd.randbytes(n_frm)
                enc = plain(version, direction, keys, devaddr, fcnt, fopts, fport, frm)
                flags = rnd.choice((0x00, 0x20, 0x80, 0x90, 0xA0))
                msg = (bytes([mtype << 5]) + le(devaddr, 4) + bytes([flags | n_fopts]) + le(fcnt & 0xFFFF, 2) + enc[0] +
                       (b"" if fport is None else bytes([fport]) + enc[1]))
                phy = msg + data_mic(version, direction, keys, devaddr, fcnt, conf, dr, ch, msg)
                out.append(data_row(version, direction, keys, fcnt, conf, dr, ch, phy, fopts, fport, frm))
    for version in (10, 11):
        for cflist in (b"", bytes.fromhex("184f84e85684b85e84886684586e8400"), bytes.fromhex("ff00000000000000010000000000000001"[:30] + "01")):
            nwk, app = rnd.randbytes(16), rnd.randbytes(16)
            if version == 10:
                app = nwk
            join_eui, dev_eui = rnd.randbytes(8), rnd.randbytes(8)
            dev_nonce, nonce, netid, devaddr = rnd.getrandbits(16), rnd.getrandbits(24), rnd.getrandbits(24), rnd.getrandbits(32)
            msg = b"\0" + join_eui[::-1] + dev_eui[::-1] + le(dev_nonce, 2)
            out.append(row("join_request", nwk, join_eui, dev_eui, dev_nonce, msg + cmac(nwk, msg)[:4]))
            dl, delay = (0x80 if version == 11 else 0) | rnd.randrange(8) << 4 | rnd.randrange(16), rnd.randrange(16)
            body = le(nonce, 3) + le(netid, 3) + le(devaddr, 4) + bytes([dl, delay]) + cflist
            js = js_keys(nwk, dev_eui)
            if version == 10:
                mic = cmac(nwk, b"\x20" + body)[:4]
            else:
                mic = cmac(js[0], b"\xff" + join_eui[::-1] + le(dev_nonce, 2) + b"\x20" + body)[:4]
            phy = b"\x20" + ecb(nwk, body + mic, decrypt=True)
            keys = session(version, nwk, app, nonce, netid, join_eui, dev_nonce)
            out.append(row("join_accept", nwk, app, js[0], js[1], join_eui, dev_eui, dev_nonce, int(version == 11), nonce,
                           "%06x" % netid, "%08x" % devaddr, dl, delay, cflist, phy, keys["f"], keys["s"], keys["e"],
                           keys["a"]))
    for kind in (0, 1, 2):
        key, dev_eui, count = rnd.randbytes(16), rnd.randbytes(8), rnd.getrandbits(16)
        who = rnd.randbytes(8 if kind == 1 else 3)
        msg = b"\xc0" + bytes([kind]) + who[::-1] + dev_eui[::-1] + le(count, 2)
        out.append(row("rejoin", key, kind, who, dev_eui, count, msg + cmac(key, msg)[:4]))
    return out


def main():
    head = "# Written by make_vectors.py; its head explains the fields.\n"
    if len(sys.argv) > 1:
        (HERE / "recorded.tsv").write_text(head + "".join(recorded(Path(sys.argv[1]))))
    (HERE / "synthetic.tsv").write_text(head + "".join(synthetic()))


main()
