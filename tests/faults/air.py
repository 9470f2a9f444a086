"""Between gateways and the bridge: a UDP relay that delays, reorders and doubles datagrams, and never drops one. It notes what
the bridge acknowledged, so that nobody has to guess which uplinks the bridge had."""

import heapq
import itertools
import random
import select
import socket
import threading
import time
from collections import Counter

PUSH_DATA, PUSH_ACK = 0, 1
PULL_RESP = 3


class Air:
    def __init__(self, port, seed):
        self.bridge = ("127.0.0.1", port)
        self.rng = random.Random(seed)
        self.rough = False
        self.done = Counter()
        self.pushed = {}    # (gateway, token): when it last was handed to the bridge
        self.accepted = {}  # (gateway, token): when the bridge's PUSH_ACK came
        self._in = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._in.bind(("127.0.0.1", 0))
        self.port = self._in.getsockname()[1]
        self._clients = {}  # address of a gateway's socket: the socket that stands for it at the bridge
        self._gateway = {}  # that socket: (address, EUI)
        self._later, self._n = [], itertools.count()
        self._ended = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self):
        self._ended = True
        self._thread.join()
        for s in (self._in, *self._clients.values()):
            s.close()

    def _delay_s(self):
        """Mostly a little, sometimes enough to be overtaken by several others."""
        if not self.rough:
            return 0
        if self.rng.random() < 0.1:
            self.done["delayed"] += 1
            return self.rng.uniform(0.02, 0.15)
        return self.rng.uniform(0, 0.004)

    def _pass(self, send, datagram):
        copies = 1
        if self.rough and self.rng.random() < 0.03:
            self.done["doubled"] += 1
            copies = 2
        for _ in range(copies):
            wait = self._delay_s()
            if wait:
                heapq.heappush(self._later, (time.monotonic() + wait, next(self._n), send, datagram))
            else:
                send(datagram)

    def _up(self, address, d):
        s = self._clients.get(address)
        if s is None:
            s = self._clients[address] = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            s.connect(self.bridge)
            s.setblocking(False)
            self._gateway[s] = (address, d[4:12].hex())

        def send(datagram):
            if datagram[3] == PUSH_DATA:
                self.pushed[(datagram[4:12].hex(), datagram[1] | datagram[2] << 8)] = time.monotonic()
            try:
                s.send(datagram)
            except OSError:
                pass  # the bridge is away

        self._pass(send, d)

    def _down(self, s, d):
        address, eui = self._gateway[s]
        if d[3] == PUSH_ACK:
            self.accepted.setdefault((eui, d[1] | d[2] << 8), time.monotonic())
        self._pass(lambda datagram: self._in.sendto(datagram, address), d)

    def _run(self):
        while not self._ended:
            now = time.monotonic()
            while self._later and self._later[0][0] <= now:
                _, _, send, datagram = heapq.heappop(self._later)
                send(datagram)
            wait = min(0.1, self._later[0][0] - now) if self._later else 0.1
            ready, _, _ = select.select([self._in, *self._clients.values()], [], [], max(0, wait))
            for s in ready:
                try:
                    if s is self._in:
                        d, address = s.recvfrom(65536)
                        if len(d) >= 12:
                            self._up(address, d)
                    else:
                        d = s.recv(65536)
                        if len(d) >= 4:
                            self._down(s, d)
                except OSError:
                    pass
