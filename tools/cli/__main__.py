"""The verbs of ./longwave. Each is one module; this file only finds the right one."""

import signal
import sys
from importlib import import_module

from machine import main_guard

USAGE = """usage: ./longwave VERB

  up [--demo] [--state DIR] [--offset N] [--region ID:PORT]... [--bind ADDRESS]
           installs what is missing, builds, starts a private broker and Redis and the four daemons;
           prints the URL and the first login. Ctrl-C ends all of it.
  test [unit|scenario|e2e|faults|ui|fuzz|lint|all]
           installs, builds, tests; ends with one line: N passed, N failed
  faults [--minutes N] [--store sqlite|postgres] [--replicas N] [--seed N] [--mutant NAME]
           kill -9 under traffic: nothing may be lost, doubled or used twice
  bench [NAME]... [--list] [--all]
           the benchmarks, with their method printed; ends with a table
  backup FILE [--state DIR]                  the state folder in one file, taken while everything runs
  restore FILE [--state DIR]                 into an empty state folder; downlink counters go ahead
  fmt      formats the C sources          lint    format, include directions, clang-tidy
  fuzz [TARGET] [SECONDS]                  docs    settings and metrics tables from the sources
"""

VERBS = {"up": "up", "test": "test", "faults": "faults", "bench": "bench", "backup": "backup", "restore": "backup",
         "fmt": "dev", "lint": "dev", "fuzz": "dev", "docs": "dev"}


def main():
    argv = sys.argv[1:]
    if not argv or argv[0] in ("help", "-h", "--help"):
        print(USAGE, end="")
        return 0
    if argv[0] not in VERBS:
        print(f"longwave: no verb {argv[0]!r}\n\n{USAGE}", end="", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, lambda *_: (_ for _ in ()).throw(KeyboardInterrupt()))
    return main_guard(lambda: import_module(VERBS[argv[0]]).main(argv[0], argv[1:]))


sys.exit(main())
