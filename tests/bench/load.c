#include "tests/bench/load.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/xmalloc.h"

static const char USAGE[] =
	"usage: longwave-load register|joins|fanout [options]   (options of longwave-sim, and:)\n"
	"  --grpc ADDRESS --token JWT --application ID --profile ID    register, fanout\n"
	"  --otaa                    register: keys instead of a session\n"
	"  --concurrency N           calls in flight (256)\n"
	"  --via mqtt|grpc           fanout: how downlinks are asked for (mqtt); --broker tcp://HOST:PORT\n"
	"  --seconds N               joins, fanout: how long missing answers are waited for (7)\n";

/* Ours are taken out; the rest are the simulator's. Returns how many remain. */
static int take_own(struct load *l, int argc, char **argv)
{
	const struct {
		const char *name;
		const char **text;
		uint32_t *number;
	} own[] = {
		{"--grpc", &l->grpc, NULL},
		{"--token", &l->token, NULL},
		{"--application", &l->application, NULL},
		{"--profile", &l->profile, NULL},
		{"--via", &l->via, NULL},
		{"--broker", &l->mqtt, NULL},
		{"--concurrency", NULL, &l->concurrency},
		{"--seconds", NULL, &l->seconds},
	};
	int kept = 1;
	for (int i = 2; i < argc; i++) {
		size_t k = 0;
		if (strcmp(argv[i], "--otaa") == 0) {
			l->otaa = true;
			continue;
		}
		while (k < sizeof(own) / sizeof(own[0]) && strcmp(argv[i], own[k].name) != 0)
			k++;
		if (k == sizeof(own) / sizeof(own[0]) || i + 1 == argc) {
			argv[kept++] = argv[i];
			continue;
		}
		i++;
		if (own[k].text)
			*own[k].text = argv[i];
		else
			*own[k].number = (uint32_t)strtoul(argv[i], NULL, 10);
	}
	return kept;
}

int main(int argc, char **argv)
{
	static struct load l = {.via = "mqtt",
				.grpc = "127.0.0.1:8081",
				.mqtt = "tcp://127.0.0.1:1883",
				.token = "",
				.application = "",
				.profile = "",
				.concurrency = 256,
				.seconds = 7};
	int (*run)(struct load *) = NULL;
	if (argc > 1)
		run = !strcmp(argv[1], "register") ? load_register
		      : !strcmp(argv[1], "joins")  ? load_joins
		      : !strcmp(argv[1], "fanout") ? load_fanout
						   : NULL;
	if (!run) {
		fputs(USAGE, stderr);
		return 2;
	}
	int err = sim_options_parse(&l.o, take_own(&l, argc, argv), argv);
	if (err)
		return err < 0 ? 2 : 0;
	l.o.abp = l.o.abp || run == load_fanout || (run == load_register && !l.otaa);
	if (!l.o.copies)
		l.o.copies = 1;
	l.loop = rt_loop_new();
	l.kc = lw_keycache_new(16384);
	lw_rng_init_seeded(&l.rng, l.o.seed ^ (uint64_t)lw_now_ns());
	l.devices = lw_xcalloc(l.o.devices, sizeof(*l.devices));
	for (uint32_t i = 0; i < l.o.devices; i++)
		sim_device_init(&l.devices[i], &l.o, l.o.first_device + i);
	err = run(&l);
	for (uint32_t i = 0; i < l.o.devices; i++)
		sim_device_deinit(&l.devices[i]);
	free(l.devices);
	lw_keycache_free(l.kc);
	rt_loop_free(l.loop);
	return err;
}
