/* longwave-sim: a radio network in one process, for the demo, the fault tests and the benchmarks. */
#include <signal.h>
#include <stdlib.h>

#include "tools/sim/sim.h"

static void on_signal(int signum, void *arg)
{
	(void)signum;
	sim_finish(arg);
}

int main(int argc, char **argv)
{
	struct sim *s = calloc(1, sizeof(*s));
	if (!s)
		return 1;
	int err = sim_options_parse(&s->o, argc, argv);
	if (err) {
		free(s);
		return err < 0 ? 2 : 0;
	}
	struct rt_loop *loop = rt_loop_new();
	err = sim_init(s, loop);
	if (!err && s->o.print_plan)
		sim_print_plan(s);
	else if (!err && s->o.mqtt)
		err = sim_watch_init(s);
	if (!err && !s->o.print_plan) {
		struct rt_signal *sigint = rt_signal_new(loop, SIGINT, on_signal, s);
		struct rt_signal *sigterm = rt_signal_new(loop, SIGTERM, on_signal, s);
		sim_start(s);
		rt_loop_run(loop);
		err = sim_report_write(s);
		rt_signal_free(sigint);
		rt_signal_free(sigterm);
	}
	sim_deinit(s);
	rt_loop_free(loop);
	free(s);
	return err ? 1 : 0;
}
