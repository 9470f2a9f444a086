"""What a benchmark is given: stacks, the broker's ceiling, a place for its results."""

import json
from contextlib import contextmanager

from benches._stack import Network, Stack

EVENT_BYTES = 1250  # an up event with two receptions


class Context:
    def __init__(self, out, opt):
        self.out, self.opt = out, opt
        self.data = {}     # of the bench that runs now: goes into build/bench.json
        self.results = {}  # key -> {"value", "note", "least", "aim", "reached"}
        self._ceilings = {}
        self._network = None

    def put(self, key, value, note="", least=None, aim=None, reached=None):
        """A row's value; least and aim replace the row's own targets where they depend on this run, `reached` is what is said where
        they do not hold."""
        self.results[key] = {"value": value, "note": note, "least": least, "aim": aim, "reached": reached}

    @contextmanager
    def stack(self, settings=None, daemons=None, data=None):
        """A fresh private stack. The shared network ends first: one stack at a time on a small machine."""
        self.close()
        s = Stack(self.out, self.opt.offset, settings, daemons, self.opt.keep, data)
        try:
            yield s
        finally:
            s.stop()

    def network(self):
        """The shared network of --devices devices, settled, started at the first use."""
        if not self._network:
            stack = Stack(self.out, self.opt.offset, keep=self.opt.keep)
            self._network = Network(stack, self.opt.devices)
            self._network.prepare()
            print("  settling: five uplinks of each device", flush=True)
            self._network.settle()
        return self._network

    def ceiling(self, stack, qos=1, size=EVENT_BYTES, topics=None):
        """Measured once a run for each QoS and size."""
        if (qos, size) not in self._ceilings:
            self._ceilings[qos, size] = stack.ceiling(qos, size, topics=topics)
            print(f"  broker alone, QoS {qos}, {size} bytes{' to ' + topics if topics else ''}, 1 publisher, 1 subscriber:"
                  f" {self._ceilings[qos, size]:.0f} messages/s", flush=True)
        return self._ceilings[qos, size]

    @property
    def ceilings(self):
        return {f"qos{q}_{n}": v for (q, n), v in self._ceilings.items()}

    def close(self):
        if self._network:
            self._network.stack.stop()
            self._network = None


def plain(value):
    """What json can write of a bench's data; the rest by its text."""
    return json.loads(json.dumps(value, default=lambda _: None))
