"""The benchmarks: one module for each line of the table in docs/performance.md, found by its file name.

A module has
  TITLE    what is measured and how, one or two lines; printed before it runs
  DEFAULT  True: part of `./longwave bench` without names
  ORDER    place in that run (small first)
  ROWS     a list of Row
  add_options(parser)   optional: options of its own
  run(ctx)              measures and calls ctx.put(key, value, note) for each row; free to print lines of its own, and
                        to keep figures in ctx.data (a dict that goes into build/bench.json)

ctx (benches._context.Context) has the private stacks; see there. A module never starts a daemon by itself.
"""

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path


@dataclass(frozen=True)
class Row:
    key: str              # unique among all benches
    what: str             # the first column
    unit: str = ""
    least: float = None   # the target that must hold
    aim: float = None     # the one that is hoped for
    more: bool = True     # True: more is better
    reference: str = "–"  # what the reference does, measured in the same way


def names():
    found = [p.stem for p in Path(__file__).parent.glob("*.py") if not p.stem.startswith("_")]
    return sorted(found, key=lambda n: (getattr(load(n), "ORDER", 50), n))


def load(name):
    return import_module(f"benches.{name}")
