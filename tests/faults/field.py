"""Devices and gateways of a fault run, and the books: what was sent, what the bridge took, what applications were told, what
devices heard."""

import base64
import itertools
import json
import random
import threading
import time
import uuid
from collections import Counter, defaultdict
from types import SimpleNamespace

import requests

import lw
from air import Air
from lw.device import BadDownlink
from lw.gateway import PULL_RESP, Gateway, payload
from mqtt5 import Client

JOIN_RETRY_S = 7.5  # after both windows of a join-request
TOO_LATE_US = 10_000


class FaultGateway(Gateway):
    """Knows a datagram that came twice, as a forwarder's queue does."""

    def __init__(self, *args):
        self._had = {}
        super().__init__(*args)

    def _take(self, d):
        if len(d) >= 4 and d[3] == PULL_RESP:
            now = time.monotonic()
            if now - self._had.get(d, -9) < 5:
                return
            self._had[d] = now
        super()._take(d)


class Books:
    """What applications were told, by MQTT and by HTTP."""

    def __init__(self):
        self.lock = threading.Lock()
        self.up = defaultdict(Counter)   # (DevEUI, data): how often, by deduplicationId
        self.order = defaultdict(list)   # DevEUI: fCnt of first deliveries
        self.first_at = {}               # (DevEUI, data): monotonic
        self.join = defaultdict(set)     # DevEUI: deduplicationIds
        self.ack = defaultdict(list)     # queueItemId: acknowledged
        self.txack = Counter()           # queueItemId
        self.kinds = Counter()

    def take(self, kind, event):
        eui = event["deviceInfo"]["devEui"]
        with self.lock:
            self.kinds[kind] += 1
            if kind == "up":
                key = (eui, base64.b64decode(event.get("data", "")))
                if key not in self.up:
                    self.order[eui].append(event.get("fCnt", 0))
                    self.first_at[key] = time.monotonic()
                self.up[key][event["deduplicationId"]] += 1
            elif kind == "join":
                self.join[eui].add(event["deduplicationId"])
            elif kind == "ack":
                self.ack[event["queueItemId"]].append(event.get("acknowledged", False))
            elif kind == "txack":
                self.txack[event["queueItemId"]] += 1


class Field:
    def __init__(self, world, seed, class_a=36, class_c=6, joiners=16, rate=15.0):
        self.world, self.stack, self.rate = world, world.stack, rate
        self.rng = random.Random(seed)
        self._lock = threading.RLock()
        self._stop = threading.Event()
        self._threads = []
        self._number = itertools.count(1)
        self._last_tmst = 0
        self.sent, self.downs, self.wrong = [], [], []
        self.heard, self.frames, self.used = Counter(), Counter(), {}
        self.refused = Counter()
        self.join_requests = Counter()
        self._by_tmst = {}
        self._by_addr = {}
        self._joining = {}  # DevEUI: when to ask again
        self.books = Books()
        self.air = Air(self.stack.udp["eu868"], seed)
        self.application = Client(self.stack.mosquitto.port, "fault-application", ["application/+/device/+/event/+"], self._told)
        self.commander = Client(self.stack.mosquitto.port, "fault-commander")
        self.application.wait_subscribed()
        self.commander.wait_subscribed()
        self.gateways = [self._gateway(i) for i in range(2)]
        self.devices = [world.device(v, profile=world.profile(v)) for _, v in zip(range(class_a), itertools.cycle(("1.0.3", "1.1.0")))]
        c = world.profile("1.0.3", supportsClassC=True, classCTimeout=5)
        self.class_c = [world.device("1.0.3", profile=c) for _ in range(class_c)]
        self.devices += self.class_c
        self.joiners = [world.device(v, profile=world.profile(v)) for _, v in zip(range(joiners), itertools.cycle(("1.0.3", "1.1.0")))]
        self._by_eui = {d.dev_eui: d for d in self.devices + self.joiners}
        for d in self.devices:
            self._ask_to_join(d)
        lw.wait_for(self._all_joined, 60, 0.05, "the first joins")
        self.joined_in_peace = {d.dev_eui for d in self.devices}

    def _gateway(self, i):
        eui = f"0016c001fa{i:06x}"
        self.world.rest.post("/api/gateways", {"gateway": {
            "gatewayId": eui, "name": f"gateway {i}", "tenantId": self.world.tenant, "statsInterval": 30,
            "location": {"latitude": 52 + i / 100, "longitude": 4.0, "altitude": 10.0}}})
        g = FaultGateway(eui, self.air.port)
        g.refuse = lambda txpk: self._take(txpk)
        return g

    def close(self):
        self.stop()
        for g in self.gateways:
            g.close()
        self.air.close()
        self.application.close()
        self.commander.close()

    def _told(self, topic, body):
        self.books.take(topic.rsplit("/", 1)[1], json.loads(body))

    # ---- what gateways are told to send

    def _take(self, txpk):
        phy = payload(txpk)
        now = time.monotonic_ns() // 1000
        if not txpk.get("imme"):
            late = (now + TOO_LATE_US - txpk["tmst"]) % 2**32
            if late < 2**31:
                self.refused["TOO_LATE"] += 1
                return "TOO_LATE"
        with self._lock:
            return self._join_accept(txpk, phy) if phy[0] >> 5 == 1 else self._data_down(txpk, phy)

    def _uplink_of(self, txpk, delays):
        if txpk.get("imme"):
            return None
        return next((self._by_tmst[t] for s in delays if (t := (txpk["tmst"] - s * 1_000_000) % 2**32) in self._by_tmst), None)

    def _join_accept(self, txpk, phy):
        eui, nonce = self._uplink_of(txpk, (5, 6)) or (None, None)
        d = self._by_eui.get(eui)
        if d is None:
            self.wrong.append(f"a join-accept for nobody: {txpk}")
        elif d.dev_nonce == nonce and not d.active:  # else it asked again since, or has its answer
            try:
                d.accept(phy)
            except BadDownlink as e:
                self.wrong.append(f"{eui}: join-accept: {e}")
                return None
            self._by_addr[d.dev_addr] = d
            self._joining.pop(eui, None)
            if d not in self.devices:
                self.devices.append(d)
        return None

    def _data_down(self, txpk, phy):
        d = self._by_addr.get(int.from_bytes(phy[1:5], "little"))
        of = self._uplink_of(txpk, (1, 2))
        if d is None or (of is None and d not in self.class_c):
            self.wrong.append(f"a downlink for nobody: {txpk}")
            return None
        # Gateways and delays may change the order on the way: the device counts from 0 here, and what was used is
        # remembered instead.
        last, before = d.last_up, dict(d.next_down)
        if of:
            d.last_up = of[1]
        d.next_down = {"n": 0, "a": 0}
        try:
            self._hear(d, phy, txpk, of is None or of[1] == last)
        except BadDownlink as e:
            self.wrong.append(f"{d.dev_eui} {d.version}: {e}; {txpk}")
        d.last_up, d.next_down = last, {k: max(n, before[k]) for k, n in d.next_down.items()}
        return None

    def _hear(self, d, phy, txpk, listening):
        ack_down, answers = d.ack_down, d.answers
        down = d.downlink(phy)
        counter = (d.dev_eui, d.is_11 and down.f_port > 0, down.f_cnt)
        if self.used.setdefault(counter, phy) != phy:
            self.wrong.append(f"{d.dev_eui} {d.version}: counter {down.f_cnt} used for another frame: {txpk}")
        self.frames[counter] += 1
        # The very same frame again is dropped; and who has sent since has closed the window: it is on the air, but the
        # device knows nothing of it.
        if self.frames[counter] > 1 or not listening:
            d.ack_down, d.answers = ack_down, answers
            self.refused["missed"] += not listening
        if self.frames[counter] > 1:
            return
        if down.f_port > 0:
            self.heard[(d.dev_eui, down.data)] += 1

    # ---- what devices send

    def _tmst(self):
        self._last_tmst = max(self._last_tmst + 1, time.monotonic_ns() // 1000)
        return self._last_tmst % 2**32

    def _ask_to_join(self, d):
        with self._lock:
            phy, tmst = d.join_request(), self._tmst()
            self._by_tmst[tmst] = (d.dev_eui, d.dev_nonce)
            self._joining[d.dev_eui] = time.monotonic() + JOIN_RETRY_S
            self.join_requests[d.dev_eui] += 1
            for g in self.gateways:
                g.push({"rxpk": [g.rxpk(phy, d.hz, d.datr, tmst=tmst)]})

    def _all_joined(self):
        for eui, due in list(self._joining.items()):
            if time.monotonic() > due:
                self._ask_to_join(self._by_eui[eui])
        return not self._joining

    def uplink(self, d):
        with self._lock:
            data = b"%s-%d" % (d.dev_eui.encode(), d.f_cnt_up)
            phy = d.uplink(data, confirmed=d.f_cnt_up % 4 == 3)
            tmst = self._tmst()
            self._by_tmst[tmst] = (d.dev_eui, d.last_up)
            tokens = [(g.id, g.push({"rxpk": [g.rxpk(phy, d.hz, d.datr, tmst=tmst)]})) for g in self.gateways]
            self.sent.append(SimpleNamespace(device=d, data=data, at=time.monotonic(), tokens=tokens))

    def _run_uplinks(self):
        # A device comes round every 2.5 s or more: it does not send while its windows are open.
        n, began = 0, time.monotonic()
        while not self._stop.is_set():
            d = self.devices[n % len(self.devices)]
            self.uplink(d)
            self._all_joined()
            n += 1
            if self._stop.wait(max(0, began + n / self.rate - time.monotonic())):
                return

    def _run_downlinks(self):
        while not self._stop.wait(self.rng.uniform(0.1, 0.5)):
            self.enqueue(self.rng.choice(self.devices), self.rng.random() < 0.5, self.rng.random() < 0.3)

    def enqueue(self, d, by_mqtt, confirmed):
        data = b"item %d" % next(self._number)
        item = {"devEui": d.dev_eui, "fPort": 10, "confirmed": confirmed, "data": base64.b64encode(data).decode()}
        down = SimpleNamespace(device=d, data=data, confirmed=confirmed, by="mqtt" if by_mqtt else "api", id=None, acked=None,
                               at=time.monotonic())
        if by_mqtt:
            down.id = item["id"] = str(uuid.uuid4())
            down.topic = f"application/{self.world.app}/device/{d.dev_eui}/command/down"
            down.payload = json.dumps(item).encode()
            self.downs.append(down)
            self.commander.publish(down)
            return
        try:
            status, answer = self.world.rest.request("POST", f"/api/devices/{d.dev_eui}/queue", {"queueItem": item})
        except requests.RequestException:
            return
        if status == 200:
            down.id, down.acked = answer["id"], time.monotonic()
            self.downs.append(down)

    def _run_joins(self, seconds):
        for d in self.joiners:
            if self._stop.wait(seconds / (len(self.joiners) + 1)):
                return
            self._ask_to_join(d)

    def start(self, seconds):
        self._stop.clear()
        runs = [(self._run_uplinks, ()), (self._run_downlinks, ()), (self._run_joins, (seconds,))]
        self._threads = [threading.Thread(target=f, args=a, daemon=True) for f, a in runs]
        for t in self._threads:
            t.start()

    def stop(self):
        self._stop.set()
        for t in self._threads:
            t.join()
        self._threads = []

    # ---- the end

    def accepted(self):
        """[(uplink, when the bridge first acknowledged it)]"""
        out = []
        for u in self.sent:
            at = [self.air.accepted[t] for t in u.tokens if t in self.air.accepted]
            if at:
                out.append((u, min(at)))
        return out

    def _missing(self):
        return [u for u, _ in self.accepted() if (u.device.dev_eui, u.data) not in self.books.up]

    def _unheard(self):
        return [x for x in self.downs if x.acked and not self.heard[(x.device.dev_eui, x.data)]]

    def queued(self):
        """Ids of items that wait, by DevEUI, as the API says."""
        out = {}
        for d in list(self.devices):
            ids = [i["id"] for i in self.world.rest.get(f"/api/devices/{d.dev_eui}/queue")["result"]]
            if ids:
                out[d.dev_eui] = ids
        return out

    def settle(self, patience):
        """Peace: everything gets the time it needs, as long as something still happens. Devices go on sending while downlinks
        wait for them. Returns what is still missing after `patience` seconds without progress, None: nothing."""
        pulled = [g.pulled for g in self.gateways]
        for g, n in zip(self.gateways, pulled):
            g.wait_pulled(60, after=n)
        best, changed = None, time.monotonic()
        due = {}
        while time.monotonic() - changed < patience:
            self._all_joined()
            waiting = self._unheard()
            with self._lock:
                owing = [d for d in self.devices if d.ack_down is not None]
            unanswered = [x.device for x in self.downs if x.confirmed and x.acked and not self.books.ack[x.id]]
            # Heard, but the TX_ACK was lost with a process: such an item waits for another try.
            queued = {} if waiting or owing or unanswered else self.queued()
            again = [self._by_eui[eui] for eui in queued]
            for d in {d.dev_eui: d for d in [x.device for x in waiting] + owing + unanswered + again}.values():
                if time.monotonic() > due.get(d.dev_eui, 0):
                    due[d.dev_eui] = time.monotonic() + 2.6  # both windows are over
                    self.uplink(d)
            state = (len(self._missing()), len(waiting), len(self._joining), self.commander.waiting(), len(owing), len(unanswered),
                     len(queued))
            if not any(state):
                return None
            if best is None or sum(state) < best:
                best, changed = sum(state), time.monotonic()
            time.sleep(0.1)
        return ("%d uplinks, %d downlinks unheard, %d joins, %d commands, %d acknowledgements owed, "
                "%d confirmed downlinks without an event, %d devices with a queue") % state
