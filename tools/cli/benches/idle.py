"""Memory of the four daemons."""

from benches import Row

TITLE = """memory of the four daemons, idle and at 400 uplinks/s
   Resident memory (shared libraries counted in each): three seconds after the start, and the peak while 3,000 devices send 400 uplinks/s."""
DEFAULT, ORDER = True, 10
ROWS = [
    Row("memory_idle", "memory of the four daemons, idle", "MB", 40, 20, more=False, reference="64 MB (two processes)"),
    Row("memory_400", "the same at 400 uplinks/s", "MB", 100, 60, more=False, reference="181 MB (two processes)"),
]


def run(ctx):
    net = ctx.network()
    r = net.traffic(400, max(10, ctx.opt.seconds))
    busy = {d: r["rss_mb"][d] for d in net.stack.daemons}
    ctx.data.update(idle=net.idle_rss, at_400=busy, cpu_us=r["cpu_us"])
    ctx.put("memory_idle", sum(net.idle_rss.values()), ", ".join(f"{d} {v:.1f}" for d, v in net.idle_rss.items()))
    ctx.put("memory_400", sum(busy.values()), ", ".join(f"{d} {v:.1f}" for d, v in busy.items()))
