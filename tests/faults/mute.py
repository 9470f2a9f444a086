"""A broker that accepts and never acknowledges: it stands between clients and the true one, passes everything, and from mute()
to heal() keeps to itself what a mode says. Connections, pings and what it delivers to subscribers stay as they are."""

import socket
import threading

CONNECT, PUBLISH, PUBACK, SUBSCRIBE, PINGREQ, DISCONNECT = 1, 3, 4, 8, 12, 14

# What is passed on: (packets of the client, packets of the broker)
MODES = {
    "clear": (lambda t: True, lambda t: True),
    # The broker has the message and everyone gets it; only its sender never hears so.
    "unacknowledged": (lambda t: True, lambda t: t != PUBACK),
    # It takes everything, and nothing of it arrives anywhere.
    "swallowed": (lambda t: t in (CONNECT, PINGREQ, DISCONNECT), lambda t: True),
}


def packets(read):
    """(type, bytes) of each MQTT packet."""
    room = b""
    while True:
        data = read()
        if not data:
            return
        room += data
        while True:
            n = shift = 0
            at = 1
            while at < len(room) and at <= 4:
                n |= (room[at] & 127) << shift
                shift += 7
                at += 1
                if not room[at - 1] & 128:
                    break
            else:
                break
            if len(room) < at + n:
                break
            yield room[0] >> 4, room[:at + n]
            room = room[at + n:]


class MuteBroker:
    def __init__(self):
        self.target = None  # port of the true one
        self.kept = 0       # packets that were not passed on
        self._mode = MODES["clear"]
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open = []
        self._ended = False
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self):
        return f"tcp://127.0.0.1:{self._listener.getsockname()[1]}"

    def mute(self, mode):
        self._mode = MODES[mode]

    def heal(self):
        self._mode = MODES["clear"]

    def _accept(self):
        while not self._ended:
            try:
                client, _ = self._listener.accept()
                broker = socket.create_connection(("127.0.0.1", self.target))
            except OSError:
                continue
            self._open += [client, broker]
            for of, a, b in ((0, client, broker), (1, broker, client)):
                threading.Thread(target=self._pass, args=(of, a, b), daemon=True).start()

    def _pass(self, of, a, b):
        try:
            for kind, data in packets(lambda: a.recv(1 << 16)):
                if self._mode[of](kind):
                    b.sendall(data)
                else:
                    self.kept += 1
        except OSError:
            pass
        for s in (a, b):
            try:
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def close(self):
        self._ended = True
        self._listener.close()
        for s in self._open:
            s.close()
