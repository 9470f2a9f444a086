"""An application's MQTT 5 client, small enough to know what it does: it reads what a dying broker had sent to the last byte,
it is subscribed again within milliseconds, and it sees the reason in a PUBACK."""

import itertools
import select
import socket
import struct
import threading
import time

CONNACK, PUBLISH, PUBACK, SUBACK = 2, 3, 4, 9
NOBODY_LISTENS = 0x10
KEEPALIVE_S = 20


def _text(s):
    s = s.encode() if isinstance(s, str) else s
    return struct.pack(">H", len(s)) + s


def _varint(n):
    out = b""
    while True:
        out += bytes([n % 128 | (128 if n > 127 else 0)])
        n //= 128
        if not n:
            return out


def _read_varint(b, at):
    n = shift = 0
    while True:
        if at >= len(b):
            return None, at
        n |= (b[at] & 127) << shift
        at += 1
        if b[at - 1] < 128:
            return n, at
        shift += 7


class Client:
    """`on_message(topic, payload)` on the client's thread. publish(): delivered means that the broker has it and somebody
    listens; until then it is published again and again."""

    def __init__(self, port, client_id, filters=(), on_message=None):
        self._port, self._id, self._filters, self._hand = port, client_id, list(filters), on_message
        self._lock = threading.Condition()
        self._sock, self._ids = None, itertools.cycle(range(1, 65536))
        self._waiting = {}  # packet id: message, sent on this connection
        self._todo = []     # messages to be sent (again)
        self.subscribed = False
        self.connects = 0
        self._ended = False
        self._wake_r, self._wake_w = socket.socketpair()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self):
        self._ended = True
        self._wake_w.send(b"x")
        self._thread.join()
        self._wake_r.close()
        self._wake_w.close()

    def wait_subscribed(self, timeout=30):
        with self._lock:
            assert self._lock.wait_for(lambda: self.subscribed, timeout), f"{self._id}: not subscribed"

    def publish(self, message):
        """`message` has topic, payload, and gets `acked` (monotonic) once it is delivered."""
        message.acked = None
        with self._lock:
            self._todo.append((0, message))
        self._wake_w.send(b"x")

    def waiting(self):
        with self._lock:
            return len(self._todo) + len(self._waiting)

    # ---- the connection

    def _connect(self):
        s = socket.create_connection(("127.0.0.1", self._port), 5)
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        body = _text("MQTT") + bytes([5, 0]) + struct.pack(">H", KEEPALIVE_S) + _varint(5) + b"\x11" + struct.pack(">I", 0xFFFFFFFF)
        body += _text(self._id)
        packets = bytes([0x10]) + _varint(len(body)) + body
        for f in self._filters:
            body = struct.pack(">H", next(self._ids)) + b"\0" + _text(f) + b"\1"
            packets += bytes([0x82]) + _varint(len(body)) + body
        s.sendall(packets)
        return s

    def _run(self):
        while not self._ended:
            try:
                self._sock = self._connect()
            except OSError:
                time.sleep(0.002)
                continue
            try:
                self._serve()
            except OSError:
                pass
            self._sock.close()
            with self._lock:
                self.subscribed = False
                self._todo = [(0, m) for m in self._waiting.values()] + self._todo
                self._waiting.clear()

    def _write(self, packet):
        try:
            self._sock.sendall(packet)
        except OSError:
            pass  # what was received is still to be read

    def _serve(self):
        buf, self._acks = b"", 0 if self._filters else -1
        ping = time.monotonic() + KEEPALIVE_S / 2
        while not self._ended:
            ready, _, _ = select.select([self._sock, self._wake_r], [], [], 0.1)
            if self._wake_r in ready:
                self._wake_r.recv(4096)
            if self._sock in ready:
                got = self._sock.recv(1 << 18)
                if not got:
                    return
                buf = self._take(buf + got)
            if time.monotonic() > ping:
                ping = time.monotonic() + KEEPALIVE_S / 2
                self._write(b"\xc0\0")
            self._flush()

    def _flush(self):
        with self._lock:
            now = time.monotonic()
            go = [m for due, m in self._todo if due <= now] if self.subscribed else []
            self._todo = [x for x in self._todo if x[1] not in go]
            for m in go:
                pid = next(self._ids)
                self._waiting[pid] = m
                body = _text(m.topic) + struct.pack(">H", pid) + b"\0" + m.payload
                self._write(bytes([0x32]) + _varint(len(body)) + body)

    def _take(self, buf):
        at = 0
        while at + 2 <= len(buf):
            n, body = _read_varint(buf, at + 1)
            if n is None or body + n > len(buf):
                break
            self._packet(buf[at] >> 4, buf[at] & 15, buf[body:body + n])
            at = body + n
        return buf[at:]

    def _packet(self, kind, flags, b):
        if kind == PUBLISH:
            n = struct.unpack(">H", b[:2])[0]
            topic, at = b[2:2 + n].decode(), 2 + n
            pid = None
            if flags & 6:
                pid, at = b[at:at + 2], at + 2
            skip, at = _read_varint(b, at)
            if self._hand:
                self._hand(topic, b[at + skip:])
            if pid:
                self._write(b"\x40\2" + pid)
        elif kind == CONNACK:
            if b[1]:
                raise OSError(f"refused: {b[1]}")
            self.connects += 1
            if not self._filters:
                self._up()
        elif kind == SUBACK:
            self._acks += 1
            if self._acks == len(self._filters):
                self._up()
        elif kind == PUBACK:
            reason = b[2] if len(b) > 2 else 0
            with self._lock:
                m = self._waiting.pop(struct.unpack(">H", b[:2])[0], None)
                if m is None:
                    return
                if reason == NOBODY_LISTENS:
                    self._todo.append((time.monotonic() + 0.3, m))
                else:
                    m.acked = time.monotonic()

    def _up(self):
        with self._lock:
            self.subscribed = True
            self._lock.notify_all()
