"""A packet-forwarder (protocol version 2): two sockets and a thread that answers and keeps alive, as the real one does."""

import base64
import json
import select
import socket
import struct
import threading
import time
from collections import deque

from lw.procs import PATIENCE_S

PUSH_DATA, PUSH_ACK, PULL_DATA, PULL_RESP, PULL_ACK, TX_ACK = range(6)
GPS_EPOCH_UNIX, LEAP_SECONDS = 315964800, 18
KEEPALIVE_S = 1.0


def gps_ms(unix_s=None):
    return int(((time.time() if unix_s is None else unix_s) - GPS_EPOCH_UNIX + LEAP_SECONDS) * 1000)


class Gateway:
    """`refuse`: what is answered to a PULL_RESP: called with the txpk, returns an error name, None for "queued" or False for
    silence. `position`: latitude, longitude, altitude."""

    def __init__(self, eui, port, position=(52.0, 4.0, 10.0)):
        self.id, self.position = eui, position
        self._eui = bytes.fromhex(eui)
        self.up, self.down = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
        for s in (self.up, self.down):
            s.connect(("127.0.0.1", port))
            s.setblocking(False)
        self._lock = threading.Condition()
        self._token = 0
        self._acked, self._pulled = set(), 0
        self._txpk = deque()
        self.refuse = lambda txpk: None
        self.log = []  # every txpk ever: (monotonic time, txpk, answer)
        self._wake_r, self._wake_w = socket.socketpair()
        self._ended = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        self.wait_pulled()

    def close(self):
        self._ended = True
        self._wake_w.send(b"x")
        self._thread.join()
        for s in (self.up, self.down, self._wake_r, self._wake_w):
            s.close()

    def _next(self):
        self._token = (self._token + 1) & 0xFFFF
        return self._token

    def _send(self, sock, kind, token, body=b""):
        try:
            sock.send(struct.pack("<BHB", 2, token, kind) + self._eui + body)
        except OSError:
            pass  # nobody listens at the moment; a datagram is lost, as on any network

    def _run(self):
        due = 0.0
        while not self._ended:
            now = time.monotonic()
            if now >= due:
                with self._lock:
                    token = self._next()
                self._send(self.down, PULL_DATA, token)
                due = now + (KEEPALIVE_S if self._pulled else 0.1)
            ready, _, _ = select.select([self.up, self.down, self._wake_r], [], [], max(0, due - now))
            for s in ready:
                try:
                    self._take(s.recv(65536))
                except OSError:
                    pass

    def _take(self, d):
        if len(d) < 4 or d[0] != 2:
            return
        token = struct.unpack("<H", d[1:3])[0]
        if d[3] == PULL_RESP:
            txpk = json.loads(d[4:])["txpk"]
            error = self.refuse(txpk)
            self.log.append((time.monotonic(), txpk, error))
            if error is not False:
                self._send(self.down, TX_ACK, token, b"" if error is None else json.dumps({"txpk_ack": {"error": error}}).encode())
        with self._lock:
            if d[3] == PUSH_ACK:
                self._acked.add(token)
            elif d[3] == PULL_ACK:
                self._pulled += 1
            elif d[3] == PULL_RESP:
                self._txpk.append((txpk, error))
            self._lock.notify_all()

    def wait_pulled(self, timeout=PATIENCE_S, after=0):
        """A PULL_ACK came: the bridge knows where this gateway is."""
        with self._lock:
            assert self._lock.wait_for(lambda: self._pulled > after, timeout), f"no PULL_ACK for {self.id}"

    @property
    def pulled(self):
        return self._pulled

    def push(self, body):
        """Sends a PUSH_DATA; returns its token."""
        with self._lock:
            token = self._next()
            self._acked.discard(token)
        self._send(self.up, PUSH_DATA, token, json.dumps(body, separators=(",", ":")).encode())
        return token

    def acked(self, token):
        with self._lock:
            return token in self._acked

    def wait_acked(self, token, timeout=PATIENCE_S):
        with self._lock:
            assert self._lock.wait_for(lambda: token in self._acked, timeout), "no PUSH_ACK"

    def rxpk(self, phy, hz, datr, tmst=None, rssi=-60, snr=9.5, gps_ns=None, **more):
        """One reception. gps_ns: nanoseconds since the GPS epoch, of a gateway with fine timestamps."""
        p = {"tmst": (time.monotonic_ns() // 1000 if tmst is None else tmst) & 0xFFFFFFFF, "chan": 2, "rfch": 1,
             "freq": hz / 1e6, "stat": 1, "modu": "LORA", "datr": datr, "codr": "4/5", "rssi": rssi, "lsnr": snr, "size": len(phy),
             "data": base64.b64encode(phy).decode()}
        if gps_ns is not None:
            p["tmms"], p["ftime"] = gps_ns // 1_000_000, gps_ns % 1_000_000_000
        return p | more

    def uplink(self, phy, hz, datr, wait=True, **more):
        """Sends a reception; returns its rxpk."""
        p = self.rxpk(phy, hz, datr, **more)
        token = self.push({"rxpk": [p]})
        if wait:
            self.wait_acked(token)
        return p

    def next_txpk(self, timeout=PATIENCE_S):
        """The next PULL_RESP that was accepted."""
        while True:
            txpk, error = self.next_offer(timeout)
            if error is None:
                return txpk

    def next_offer(self, timeout=PATIENCE_S):
        """(txpk, what was answered) of the next PULL_RESP."""
        with self._lock:
            assert self._lock.wait_for(lambda: self._txpk, timeout), f"no PULL_RESP within {timeout} s"
            return self._txpk.popleft()

    def offers(self):
        """All PULL_RESPs that wait."""
        with self._lock:
            got = list(self._txpk)
            self._txpk.clear()
            return got


def payload(txpk):
    return base64.b64decode(txpk["data"])
