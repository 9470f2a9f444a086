"""kill -9 at random moments, from a seed: a deck of all targets is dealt again and again, so that a short run meets each."""

import random
import time
from collections import Counter
from types import SimpleNamespace

import lw
import report


class Target:
    def __init__(self, name, process, start, healthy):
        self.name, self.process, self.kill, self.start, self.healthy = name, process, process.kill, start, healthy


# The broker has acknowledged what it holds in memory alone: who can give it once more must not die with it. Frames: the
# bridge. Commands that wait for an app-server that is away: nobody.
NEVER_WITH_THE_BROKER = ("gateway-bridge", "app-server")


def targets(stack, receiver):
    out = [Target(f"{d.name} {i}" if sum(x.name == d.name for x in stack.daemons) > 1 else d.name, d,
                  lambda d=d: d.start(wait=False), lambda d=d: stack.healthy(d))
           for i, d in enumerate(stack.daemons) if d.name != "geo-server"]
    out.append(Target("mosquitto", stack.mosquitto, stack.mosquitto.start, lambda: True))
    out.append(Target("redis", stack.redis, stack.redis.start, lambda: True))
    if stack.pg:
        out.append(Target("postgresql", stack.pg, stack.pg.start, lambda: True))
    if receiver:
        out.append(Target("webhook receiver", receiver, receiver.start, lambda: True))
    return out


class Killer:
    def __init__(self, stack, receiver, seed, say):
        self.rng, self.say = random.Random(seed), say
        self.stack, self.targets = stack, targets(stack, receiver)
        self.kills, self._deck, self.drops = [], [], Counter()

    def _deal(self):
        if not self._deck:
            self._deck = self.targets[:]
            self.rng.shuffle(self._deck)
        return self._deck.pop()

    def _pair(self):
        """One target, sometimes two at once."""
        first = self._deal()
        if self.rng.random() > 0.3:
            return [first]
        names = {first.name.split(" ")[0]}
        for t in self._deck:
            both = names | {t.name.split(" ")[0]}
            if not ("mosquitto" in both and both & set(NEVER_WITH_THE_BROKER)):
                self._deck.remove(t)
                return [first, t]
        return [first]

    def run(self, seconds):
        end = time.monotonic() + seconds
        began = time.monotonic()
        while time.monotonic() < end:
            time.sleep(self.rng.uniform(0.3, 2.5))
            dead = self._pair()
            down = []
            for t in dead:
                if t.name.startswith("network-server"):
                    report.note_drops(self.drops, t.process)
                at = time.monotonic()
                t.kill()
                self.kills.append(SimpleNamespace(name=t.name, at=at))
                time.sleep(self.rng.choice((0, 0, 0.1, 0.5)))
            for t in dead:
                down.append(self.rng.choice((0, 0.05, 0.5, 1, 2, 4)))
                time.sleep(down[-1])
                t.start()
            self.say(f"{at - began:6.1f} s: kill -9 {' and '.join(t.name for t in dead)}, back after "
                     + " and ".join(f"{x:g} s" for x in down))
            for d in self.stack.daemons:  # the next one comes when this one is over
                lw.wait_for(lambda: self.stack.healthy(d), 60, 0.02, text=f"health of {d.name}")
