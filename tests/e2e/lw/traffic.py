"""Steady traffic of joined devices, and the book-keeping that shows whether something was lost, doubled or used twice."""

import base64
import itertools
import json
import threading
import time
from collections import Counter
from types import SimpleNamespace

import requests

import lw
from lw.device import BadDownlink
from lw.gateway import payload


class Traffic:
    """`n` devices, 1.0.3 and 1.1 in turn, heard by two gateways. Every fourth uplink is confirmed. Downlinks are queued beside
    it where the API answers. start() and stop() the sender as often as wanted; settle() waits for the end of everything and
    check() says what is wrong."""

    PACE_S = 0.04

    def __init__(self, world, n=6):
        self.world, self.stack = world, world.stack
        self.gateways = [world.gateway(position=(52.0 + i / 100, 4.0, 10.0)) for i in range(2)]
        self.devices = []
        for i in range(n):
            version = ("1.0.3", "1.1.0")[i % 2]
            self.devices.append(world.device(version, profile=world.profile(version, tags={"geolocation": "on"})))
        self.sent = []    # every uplink: device, data, when, the gateways' tokens
        self.queued = []  # (device, data) of every downlink that the API took
        self.wrong = []   # what a device could not take
        self.heard = Counter()
        self.used = {}  # downlink counters, and the frame that each was used for
        self._by_tmst = {}
        self._number = itertools.count(1)
        self._lock = threading.RLock()
        self._stop = threading.Event()
        for d in self.devices:
            world.join(d, *self.gateways)
        self._by_addr = {d.dev_addr: d for d in self.devices}
        for g in self.gateways:
            g.offers()
            g.refuse = self._take

    def _take(self, txpk):
        """A gateway was told to send: the device hears it."""
        phy = payload(txpk)
        with self._lock:
            d = self._by_addr.get(int.from_bytes(phy[1:5], "little"))
            f_cnt = next((self._by_tmst[t] for s in (1, 2) if (t := (d and d.dev_eui, (txpk["tmst"] - s * 1_000_000) % 2**32)) in self._by_tmst), None)
            if d is None or f_cnt is None:
                self.wrong.append(f"a downlink for nobody: {txpk}")
                return None
            # Two gateways may hand over in another order than they were told to: the device counts from 0 here, and what
            # was used is remembered instead.
            last, before = d.last_up, dict(d.next_down)
            d.last_up, d.next_down = f_cnt, {"n": 0, "a": 0}
            try:
                down = d.downlink(phy)
                counter = (d.dev_eui, d.is_11 and down.f_port > 0, down.f_cnt)
                before_it = self.used.setdefault(counter, phy)
                if before_it != phy:
                    self.wrong.append(f"{d.dev_eui} {d.version}: counter {down.f_cnt} used for another frame: {txpk}")
                # A gateway that did not answer in time is replaced by another (decision 0011): the device drops the second one.
                if before_it is phy:
                    self.heard[(d.dev_eui, down.data if down.f_port > 0 else b"")] += 1
            except BadDownlink as e:
                self.wrong.append(f"{d.dev_eui} {d.version}: {e}; {txpk}")
            d.last_up, d.next_down = last, {k: max(n, before[k]) for k, n in d.next_down.items()}
        return None

    def uplink(self, d):
        with self._lock:
            data = b"%s-%d" % (d.dev_eui.encode(), d.f_cnt_up)
            phy = d.uplink(data, confirmed=d.f_cnt_up % 4 == 3)
            tmst = time.monotonic_ns() // 1000 % 2**32
            self._by_tmst[(d.dev_eui, tmst)] = d.last_up
            tokens = [(g, g.push({"rxpk": [g.rxpk(phy, d.hz, d.datr, tmst=tmst)]})) for g in self.gateways]
            u = SimpleNamespace(device=d, data=data, at=time.monotonic(), tokens=tokens)
            self.sent.append(u)
            return u

    def enqueue(self, d):
        data = b"item %d" % next(self._number)
        try:
            status, _ = self.world.rest.request("POST", f"/api/devices/{d.dev_eui}/queue", {"queueItem": {
                "devEui": d.dev_eui, "fPort": 10, "data": base64.b64encode(data).decode()}})
        except requests.RequestException:
            return
        if status == 200:
            self.queued.append((d, data))

    def _run(self):
        for d in itertools.cycle(self.devices):
            if self._stop.wait(self.PACE_S):
                return
            self.uplink(d)

    def _run_queue(self):
        for d in itertools.cycle(self.devices):
            if self._stop.wait(0.3):
                return
            self.enqueue(d)

    def start(self):
        self._stop.clear()
        self._threads = [threading.Thread(target=f, daemon=True) for f in (self._run, self._run_queue)]
        for t in self._threads:
            t.start()

    def stop(self):
        self._stop.set()
        for t in self._threads:
            t.join()

    def more(self, n, timeout=lw.procs.PATIENCE_S):
        """Until n more uplinks have been sent."""
        until = len(self.sent) + n
        lw.wait_for(lambda: len(self.sent) >= until, timeout, text=f"{n} more uplinks")

    def acknowledged(self):
        """Uplinks that the bridge has taken from at least one gateway."""
        return [u for u in self.sent if any(g.acked(t) for g, t in u.tokens)]

    def delivered(self, repeats=True):
        """How often each payload was seen on the application's topic; without repeats of one deduplicationId."""
        mine = {d.dev_eui for d in self.devices}
        ups = [(e.dev_eui, json.loads(e.raw)) for e in self.stack.events.all("up") if e.dev_eui in mine]
        seen = [(eui, base64.b64decode(up["data"]), up["deduplicationId"]) for eui, up in ups]
        return Counter((eui, data) for eui, data, _ in (seen if repeats else set(seen)))

    def settle(self, timeout=lw.procs.PATIENCE_S):
        """The sender has stopped: all that is acknowledged is delivered, queues run empty."""
        last = [self.uplink(d) for d in self.devices]
        # The bridge answers once it has the event on disk or with the broker, which a busy machine may take a while for.
        self._wait(lambda: all(any(g.acked(t) for g, t in u.tokens) for u in last), timeout)

        def arrived():
            got = self.delivered()
            return all(got[(u.device.dev_eui, u.data)] for u in self.acknowledged())

        self._wait(arrived, timeout)
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            waiting = [d for d, data in self.queued if not self.heard[(d.dev_eui, data)]]
            if not waiting:
                break
            for d in dict.fromkeys(d.dev_eui for d in waiting):
                self.uplink(next(x for x in self.devices if x.dev_eui == d))
            time.sleep(0.4)  # as long as a device waits for its windows
        self._wait(arrived, timeout)

    @staticmethod
    def _wait(arrived, timeout):
        """check() names what is missing."""
        end = time.monotonic() + timeout
        while not arrived() and time.monotonic() < end:
            time.sleep(0.1)

    def check(self, cut_off=False):
        """cut_off: the application lost its broker, and may hear what was under way again."""
        got = self.delivered(repeats=not cut_off)
        sent = {(u.device.dev_eui, u.data) for u in self.sent}
        lost = [u for u in self.acknowledged() if not got[(u.device.dev_eui, u.data)]]
        began = self.sent[0].at
        for d in dict.fromkeys(u.device.dev_eui for u in lost):
            print(f"what the network-server says of {d}:", *self.stack.frames(dev_eui=d), sep="\n")
        assert not lost, f"lost: {[(u.data, round(u.at - began, 3), [g.acked(t) for g, t in u.tokens]) for u in lost]} of {len(self.sent)}"
        assert not [k for k, n in got.items() if n > 1], f"twice: {[k for k, n in got.items() if n > 1]}"
        assert not set(got) - sent
        assert not self.wrong, self.wrong
        assert not [x for d, x in self.queued if not self.heard[(d.dev_eui, x)]], "downlinks lost"
        for d in self.devices:
            assert d.joins == 1 and len(self.stack.events.of(d.dev_eui, "join")) == 1
