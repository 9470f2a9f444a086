/* Events through a real gRPC server to a real client, out of a real outbox: nothing twice, nothing missing. */
#include "tests/unit/network-server/store/rig.h"

#include "common/io/grpc_client.h"
#include "common/io/grpc_server.h"
#include "common/runtime/metrics.h"
#include "network-server/link/event_stream.h"

static const char PATH[] = "/longwave.ns.v1.NetworkServer/Events";

struct world {
	struct rig *rig;
	struct rt_metrics *metrics;
	struct grpc_methods *methods;
	struct grpc_server *server;
	struct ns_event_stream *events;
	char address[32];
};

struct reader {
	struct world *w;
	struct grpc_client *client;
	struct grpc_stream *stream; /* NULL: ended */
	int status;
	uint64_t last;
	size_t n;
	size_t pause_after; /* 0: never; then pauses with every so many events */
	bool paused;
	bool acks;
	uint8_t *seen; /* NULL, or how often event N came, by its deduplication id; numbers may then be left out */
};

static void push(struct rig *r, const struct ns_stored_event *v, size_t n)
{
	struct world *w = r->user;
	ns_event_stream_push(w->events, v, n);
	r->n_events += n;
}

static void on_gap(struct rig *r, bool open)
{
	struct world *w = r->user;
	ns_event_stream_hold(w->events, open);
}

static void handle(struct grpc_call *c, const ProtobufCMessage *req, void *arg)
{
	ns_event_stream_handle(c, req, ((struct world *)arg)->events);
}

static void world_open(struct world *w, bool pg)
{
	memset(w, 0, sizeof(*w));
	w->rig = rig_new(pg, 0);
	w->rig->user = w;
	w->rig->on_events = push;
	w->rig->on_gap = on_gap;
	w->metrics = rt_metrics_new("t_");
	w->events = ns_event_stream_new(w->rig->loop, w->rig->store, w->rig->log, w->metrics);
	w->methods = grpc_methods_new();
	struct grpc_method m = {.path = PATH,
				.input = &longwave__ns__v1__ack__descriptor,
				.output = &longwave__ns__v1__event_batch__descriptor,
				.client_streaming = true,
				.server_streaming = true,
				.fn = handle,
				.arg = w};
	assert_int_equal(grpc_methods_add(w->methods, &m), 0);
	struct grpc_server_config config = {.bind = "127.0.0.1:0", .methods = w->methods};
	assert_int_equal(grpc_server_new(w->rig->loop, &config, &w->server, NULL), 0);
	snprintf(w->address, sizeof(w->address), "127.0.0.1:%d", grpc_server_port(w->server));
}

static void world_close(struct world *w)
{
	struct rig *r = w->rig;
	sql_free(r->db); /* as parts.c does: answers find who asked */
	ns_event_stream_free(w->events);
	grpc_server_free(w->server);
	grpc_methods_free(w->methods);
	ns_store_free(r->store);
	rt_metrics_free(w->metrics);
	for (int i = 0; i < 20; i++)
		rt_loop_turn(r->loop);
	rt_loop_free(r->loop);
	rt_log_free(r->log);
	free(r);
}

static void send_ack(struct reader *rd, uint64_t seq, const char *consumer)
{
	Longwave__Ns__V1__Ack ack = LONGWAVE__NS__V1__ACK__INIT;
	Longwave__Ns__V1__Position p = LONGWAVE__NS__V1__POSITION__INIT, *v[1] = {&p};
	p.origin = rd->w->rig->origin;
	p.seq = seq;
	ack.positions = v;
	ack.n_positions = seq ? 1 : 0;
	ack.consumer = (char *)(uintptr_t)consumer;
	assert_int_equal(grpc_stream_send(rd->stream, &ack.base), 0);
}

static void on_message(struct grpc_stream *s, const ProtobufCMessage *msg, void *arg)
{
	struct reader *rd = arg;
	const Longwave__Ns__V1__EventBatch *b = (const Longwave__Ns__V1__EventBatch *)msg;
	for (size_t i = 0; i < b->n_events; i++) {
		uint64_t seq = b->events[i]->seq;
		if (rd->seen) {
			assert_true(seq > rd->last);
			rd->seen[strtoul(b->events[i]->deduplication_id, NULL, 10)]++;
		} else if (rd->last && seq != rd->last + 1)
			fail_msg("%llu after %llu", (unsigned long long)seq, (unsigned long long)rd->last);
		rd->last = seq;
		rd->n++;
		if (rd->pause_after && rd->n % rd->pause_after == 0) {
			rd->paused = true;
			grpc_stream_pause(s, true);
		}
	}
	if (rd->acks)
		send_ack(rd, rd->last, "");
}

static void on_end(struct grpc_stream *s, int status, const char *message, void *arg)
{
	struct reader *rd = arg;
	(void)s;
	(void)message;
	rd->stream = NULL;
	rd->status = status;
}

static const struct grpc_stream_events EVENTS = {.message = on_message, .end = on_end};

static void reader_open(struct reader *rd, struct world *w, uint64_t position, const char *consumer)
{
	struct grpc_client_config config = {.address = w->address};
	struct grpc_client_request req = {
		.path = PATH, .output = &longwave__ns__v1__event_batch__descriptor, .wait_for_ready = true};
	*rd = (struct reader){.w = w, .last = position};
	rd->client = grpc_client_new(w->rig->loop, &config);
	rd->stream = grpc_stream_open(rd->client, &req, &EVENTS, rd);
	send_ack(rd, position, consumer);
}

static void reader_close(struct reader *rd)
{
	if (rd->stream)
		grpc_stream_cancel(rd->stream);
	grpc_client_free(rd->client);
	rd->client = NULL;
}

static void turn(struct world *w, uint32_t ms)
{
	bool never = false;
	rt_loop_run_until(w->rig->loop, &never, ms);
}

static void wait_for(struct world *w, const size_t *n, size_t want)
{
	for (int i = 0; i < 20000 && *n < want; i++)
		turn(w, 1);
	assert_int_equal(*n, want);
}

static void committed(struct ns_change *c)
{
	assert_int_equal(c->err, 0);
	++*(size_t *)c->owner;
}

/* n events of `size` bytes in one commit; does not wait. */
struct bulk {
	struct ns_event ev;
	struct ns_change c;
};

static void write_bulk(struct world *w, size_t n, size_t size, size_t *done)
{
	static char text[8192];
	static uint8_t mem[8300];
	struct ns_change **v = lw_xcalloc(n, sizeof(*v));
	struct bulk *b = lw_xcalloc(n, sizeof(*b));
	memset(text, 'x', sizeof(text) - 1);
	text[size] = 0;
	struct ns_event ev = rig_event(1, text, mem, sizeof(mem));
	text[size] = 'x';
	for (size_t i = 0; i < n; i++) {
		b[i].ev = ev;
		b[i].c = (struct ns_change){
			.op = NS_SESSION_KEEP, .events = &b[i].ev, .n_events = 1, .done = committed, .owner = done};
		v[i] = &b[i].c;
	}
	size_t before = *done;
	w->rig->port.commit(w->rig->port.self, v, n);
	wait_for(w, done, before + n);
	free(v);
	free(b);
}

struct count {
	bool done;
	size_t n;
};

static void on_count(void *arg, int err, const struct ns_stored_event *v, size_t n, bool more)
{
	struct count *c = arg;
	(void)v;
	(void)more;
	assert_int_equal(err, 0);
	c->done = true;
	c->n = n;
}

static size_t outbox_after(struct world *w, uint64_t seq)
{
	struct count c = {0};
	ns_store_read_outbox(w->rig->store, w->rig->origin, seq, 1000000, on_count, &c);
	assert_true(rt_loop_run_until(w->rig->loop, &c.done, RIG_WAIT_MS));
	return c.n;
}

static size_t left_in_outbox(struct world *w)
{
	return outbox_after(w, 0);
}

static void test_live_and_acknowledged(void **state)
{
	struct world w;
	struct reader rd;
	size_t done = 0;
	(void)state;
	world_open(&w, false);
	write_bulk(&w, 5, 10, &done); /* before anyone listens */
	reader_open(&rd, &w, 0, "as");
	wait_for(&w, &rd.n, 5);
	write_bulk(&w, 700, 10, &done); /* live, more than one message */
	wait_for(&w, &rd.n, 705);
	assert_int_equal(left_in_outbox(&w), 705);
	send_ack(&rd, rd.last + 3, ""); /* more than it was given: not believed */
	/* The last two share a row with some before them: that stays. */
	send_ack(&rd, rd.last - 2, "");
	size_t left = 705;
	for (int i = 0; i < 500 && left == 705; i++) {
		turn(&w, 10);
		left = left_in_outbox(&w);
	}
	assert_in_range(left, 2, 700);
	assert_int_equal(outbox_after(&w, rd.last - 2), 2);
	/* Again from where it stopped. */
	uint64_t last = rd.last;
	reader_close(&rd);
	reader_open(&rd, &w, last - 1, "as");
	wait_for(&w, &rd.n, 1);
	write_bulk(&w, 3, 10, &done);
	wait_for(&w, &rd.n, 4);
	assert_true(rd.last == last + 3);
	send_ack(&rd, rd.last, "");
	for (int i = 0; i < 500 && left; i++) {
		turn(&w, 10);
		left = left_in_outbox(&w);
	}
	assert_int_equal(left, 0);
	reader_close(&rd);
	world_close(&w);
}

/* Reader and writer at their own pace, the memory too small, connections that end in between. */
static void endurance(bool pg)
{
	enum { TOTAL = 100000, BULK = 500, SIZE = 600 };
	struct world w;
	struct reader rd;
	size_t done = 0, received = 0;
	unsigned reconnects = 0;
	world_open(&w, pg);
	reader_open(&rd, &w, 0, "as");
	rd.acks = true;
	rd.pause_after = 9000;
	while (done < TOTAL) {
		write_bulk(&w, BULK, SIZE, &done);
		if (done == TOTAL / 2) { /* slow for so long that memory is full */
			grpc_stream_pause(rd.stream, true);
			rd.paused = true;
		}
		if (rd.paused && done % (80 * BULK) == 0) {
			rd.paused = false;
			grpc_stream_pause(rd.stream, false);
		}
		if (done % (60 * BULK) == 0) {
			uint64_t last = rd.last;
			received += rd.n;
			reader_close(&rd);
			reader_open(&rd, &w, last, "as");
			rd.acks = true;
			rd.pause_after = 9000;
			reconnects++;
		}
	}
	rd.pause_after = 0;
	if (rd.paused)
		grpc_stream_pause(rd.stream, false);
	for (int i = 0; i < 60000 && received + rd.n < TOTAL; i++)
		turn(&w, 1);
	assert_int_equal(received + rd.n, TOTAL);
	assert_true(rd.last == ns_store_last_seq(w.rig->store));
	assert_true(reconnects >= 3);
	size_t left = 1;
	for (int i = 0; i < 500 && left; i++) {
		turn(&w, 10);
		left = left_in_outbox(&w);
	}
	assert_int_equal(left, 0);
	reader_close(&rd);
	world_close(&w);
}

static void test_endurance_sqlite(void **state)
{
	(void)state;
	endurance(false);
}

static void test_endurance_postgres(void **state)
{
	(void)state;
	endurance(true);
}

/* The database dies under commits whose outcome then nobody knows: what was confirmed is heard once, what was not at
 * most once, and the outbox is empty in the end. */
static void signal_backends(const struct fix_server *pg, int signum)
{
	char path[64];
	int pid;
	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", (int)pg->pid, (int)pg->pid);
	FILE *f = fopen(path, "r");
	assert_non_null(f);
	while (fscanf(f, "%d", &pid) == 1)
		kill(pid, signum);
	fclose(f);
}

struct outcome {
	size_t *open;
	int err;
};

static void ended(struct ns_change *c)
{
	struct outcome *o = c->owner;
	o->err = c->err;
	--*o->open;
}

static void test_database_killed(void **state)
{
	enum { TOTAL = 12000, BULK = 100, KILLS = 3 };
	struct world w;
	struct reader rd;
	struct ns_change *change = lw_xcalloc(TOTAL, sizeof(*change));
	struct outcome *outcome = lw_xcalloc(TOTAL, sizeof(*outcome));
	struct ns_event *ev = lw_xcalloc(TOTAL, sizeof(*ev));
	uint8_t(*mem)[32] = lw_xcalloc(TOTAL, sizeof(*mem));
	uint8_t *seen = lw_xcalloc(TOTAL, 1);
	size_t open = 0, confirmed = 0, refused = 0;
	(void)state;
	world_open(&w, true);
	reader_open(&rd, &w, 0, "as");
	rd.acks = true;
	rd.seen = seen;
	for (size_t i = 0; i < TOTAL; i += BULK) {
		struct ns_change *v[BULK];
		size_t nth = i / BULK + 1, each = TOTAL / BULK / (KILLS + 1);
		bool kills = nth % each == 0 && nth < TOTAL / BULK;
		/* Once they stand still before they are sent anything, and cannot have answered. */
		if (kills && nth / each == 2)
			signal_backends(&rig_fix.pg, SIGSTOP);
		for (size_t k = 0; k < BULK; k++) {
			char id[16];
			snprintf(id, sizeof(id), "%zu", i + k);
			ev[i + k] = rig_event(1, id, mem[i + k], sizeof(mem[0]));
			outcome[i + k] = (struct outcome){.open = &open, .err = 1};
			change[i + k] = (struct ns_change){.op = NS_SESSION_KEEP,
							   .events = &ev[i + k],
							   .n_events = 1,
							   .done = ended,
							   .owner = &outcome[i + k]};
			v[k] = &change[i + k];
		}
		open += BULK;
		w.rig->port.commit(w.rig->port.self, v, BULK);
		rt_loop_turn(w.rig->loop);
		if (kills)
			signal_backends(&rig_fix.pg, SIGKILL); /* the server starts itself again */
		for (int k = 0; k < 20000 && open > 10 * BULK; k++)
			turn(&w, 1);
	}
	for (int k = 0; k < 40000 && open; k++)
		turn(&w, 1);
	assert_int_equal(open, 0);
	for (size_t i = 0; i < TOTAL; i++)
		*(outcome[i].err ? &refused : &confirmed) += 1;
	assert_true(w.rig->gaps_opened >= 1);
	assert_true(confirmed > 15 * BULK); /* of those before the first one at least */
	for (int k = 0; k < 40000 && (w.rig->gaps_closed < w.rig->gaps_opened || rd.n < confirmed); k++)
		turn(&w, 1);
	size_t left = 1;
	for (int k = 0; k < 1000 && left; k++) {
		turn(&w, 10);
		left = left_in_outbox(&w);
	}
	assert_int_equal(left, 0);
	for (size_t i = 0; i < TOTAL; i++) {
		assert_true(seen[i] <= 1);
		if (!outcome[i].err && !seen[i])
			fail_msg("event %zu was confirmed and never heard", i);
	}
	reader_close(&rd);
	world_close(&w);
	free(change);
	free(outcome);
	free(ev);
	free(mem);
	free(seen);
}

/* One that never says who it is keeps nobody waiting, and a stream of the same name takes the place of an older one. */
static void test_replacement(void **state)
{
	struct world w;
	struct reader a, c, mute;
	size_t done = 0;
	(void)state;
	world_open(&w, false);
	struct grpc_client_config config = {.address = w.address};
	struct grpc_client_request req = {.path = PATH, .output = &longwave__ns__v1__event_batch__descriptor};
	mute = (struct reader){.w = &w};
	mute.client = grpc_client_new(w.rig->loop, &config);
	mute.stream = grpc_stream_open(mute.client, &req, &EVENTS, &mute);
	turn(&w, 50);
	reader_open(&a, &w, 0, "one");
	write_bulk(&w, 10, 10, &done);
	wait_for(&w, &a.n, 10);
	reader_open(&c, &w, a.last, "one");
	for (int i = 0; i < 2000 && a.stream; i++)
		turn(&w, 1);
	assert_null(a.stream);
	assert_int_equal(a.status, GRPC_ABORTED);
	write_bulk(&w, 5, 10, &done);
	wait_for(&w, &c.n, 5);
	reader_close(&c);
	reader_close(&a);
	reader_close(&mute);
	world_close(&w);
}

/* ---- several streams ---- */

#define DEVICES 40

/* An application server that keeps what it has published, and opens again when it is told to. */
struct app {
	struct world *w;
	const char *name;
	unsigned others;
	struct grpc_client *client;
	struct grpc_stream *stream;
	uint64_t lane[9]; /* 8: without lanes */
	bool holds;       /* takes and does not acknowledge */
	size_t n, opens, batches_split;
	bool dead;
	bool blind; /* does not look up what the others have published */
};

/* By device: the last seq, and by seq: how often published. */
struct ledger {
	uint64_t first;
	uint8_t *published;
	size_t n;
	uint64_t last[DEVICES + 1];
};
static struct ledger ledger;

static void app_ack(struct app *a, bool first)
{
	Longwave__Ns__V1__Ack ack = LONGWAVE__NS__V1__ACK__INIT;
	Longwave__Ns__V1__Position p[9], *v[9];
	char name[9][80];
	for (unsigned i = 0; i < 9; i++) {
		if (!a->lane[i])
			continue;
		longwave__ns__v1__position__init(&p[i]);
		snprintf(name[i], sizeof(name[i]), i < 8 ? "%s#%u" : "%s", a->w->rig->origin, i);
		p[i].origin = name[i];
		p[i].seq = a->lane[i];
		v[ack.n_positions++] = &p[i];
	}
	ack.positions = v;
	if (first) {
		ack.consumer = (char *)(uintptr_t)a->name;
		ack.others = a->others;
	}
	if (a->stream)
		(void)grpc_stream_send(a->stream, &ack.base);
}

static void on_app_message(struct grpc_stream *s, const ProtobufCMessage *msg, void *arg)
{
	struct app *a = arg;
	const Longwave__Ns__V1__EventBatch *b = (const Longwave__Ns__V1__EventBatch *)msg;
	(void)s;
	a->batches_split += b->split ? 1 : 0;
	for (size_t i = 0; i < b->n_events; i++) {
		const Longwave__Ns__V1__Event *e = b->events[i];
		unsigned lane = ns_event_lane(e->dev_eui);
		if (e->seq <= a->lane[8] || e->seq <= a->lane[lane])
			continue;
		size_t device = strtoul(e->deduplication_id, NULL, 10);
		assert_true(device <= DEVICES);
		assert_true(e->seq > ledger.last[device]); /* in order, whoever has the device */
		ledger.last[device] = e->seq;
		ledger.published[e->seq - ledger.first]++;
		ledger.n++;
		a->lane[b->split ? lane : 8] = e->seq;
		a->n++;
	}
	if (!a->holds)
		app_ack(a, false);
}

static void app_open(struct app *a);

static void on_app_end(struct grpc_stream *s, int status, const char *message, void *arg)
{
	struct app *a = arg;
	(void)s;
	(void)status;
	(void)message;
	a->stream = NULL;
}

static const struct grpc_stream_events APP_EVENTS = {.message = on_app_message, .end = on_app_end};

static void app_open(struct app *a)
{
	struct grpc_client_config config = {.address = a->w->address};
	struct grpc_client_request req = {
		.path = PATH, .output = &longwave__ns__v1__event_batch__descriptor, .wait_for_ready = true};
	if (!a->client)
		a->client = grpc_client_new(a->w->rig->loop, &config);
	a->stream = grpc_stream_open(a->client, &req, &APP_EVENTS, a);
	a->opens++;
	app_ack(a, true);
}

static void app_kill(struct app *a)
{
	a->dead = true;
	if (a->stream)
		grpc_stream_cancel(a->stream);
	a->stream = NULL;
	grpc_client_free(a->client);
	a->client = NULL;
}

/* What each one published is known to all, as through the broker. */
static void share(struct app *v, size_t n)
{
	for (unsigned i = 0; i < 9; i++) {
		uint64_t most = 0;
		for (size_t k = 0; k < n; k++)
			most = v[k].lane[i] > most ? v[k].lane[i] : most;
		for (size_t k = 0; k < n; k++)
			v[k].lane[i] = most;
	}
}

static void apps_turn(struct world *w, struct app *v, size_t n)
{
	turn(w, 1);
	for (size_t k = 0; k < n; k++) {
		if (v[k].dead || v[k].stream)
			continue;
		if (!v[k].blind)
			share(v, n);
		app_open(&v[k]);
	}
}

static void write_devices(struct world *w, size_t n, size_t *done)
{
	static uint8_t mem[512][64];
	struct ns_event ev[512];
	struct ns_change c[512], *v[512];
	assert_true(n <= 512);
	for (size_t i = 0; i < n; i++) {
		char id[16], eui[17];
		size_t device = i % DEVICES + 1;
		Longwave__Ns__V1__Event e = LONGWAVE__NS__V1__EVENT__INIT;
		snprintf(id, sizeof(id), "%zu", device);
		snprintf(eui, sizeof(eui), "%016zx", device);
		e.deduplication_id = id;
		e.dev_eui = eui;
		ev[i] = (struct ns_event){.packed = lw_span(mem[i], longwave__ns__v1__event__pack(&e, mem[i]))};
		c[i] = (struct ns_change){
			.op = NS_SESSION_KEEP, .events = &ev[i], .n_events = 1, .done = committed, .owner = done};
		v[i] = &c[i];
	}
	size_t before = *done;
	w->rig->port.commit(w->rig->port.self, v, n);
	wait_for(w, done, before + n);
}

static void apps_wait(struct world *w, struct app *v, size_t n, size_t published)
{
	for (int i = 0; i < 20000 && ledger.n < published; i++)
		apps_turn(w, v, n);
	assert_int_equal(ledger.n, published);
}

static void ledger_begin(struct world *w, size_t most)
{
	ledger = (struct ledger){.first = ns_store_last_seq(w->rig->store) + 1, .published = lw_xcalloc(most, 1)};
}

static void ledger_end(struct world *w, struct app *v, size_t n, size_t total)
{
	size_t left = 1;
	for (size_t i = 0; i < total; i++)
		assert_int_equal(ledger.published[i], 1);
	for (int i = 0; i < 1000 && left; i++) {
		apps_turn(w, v, n);
		left = left_in_outbox(w);
	}
	assert_int_equal(left, 0);
	free(ledger.published);
}

/* Two share; one more comes; one dies with events that it has published and events that it has not; it comes back. */
static void test_split(void **state)
{
	struct world w;
	size_t done = 0;
	(void)state;
	world_open(&w, false);
	ledger_begin(&w, 40000);
	struct app v[3] = {{.w = &w, .name = "a", .others = 1},
			   {.w = &w, .name = "b", .others = 1},
			   {.w = &w, .name = "c", .others = 2, .dead = true}};
	write_devices(&w, 100, &done);
	apps_wait(&w, v, 3, done);
	write_devices(&w, 400, &done);
	apps_wait(&w, v, 3, done);
	assert_true(v[0].n >= 100 && v[1].n >= 100);
	assert_true(v[0].batches_split && v[1].batches_split);
	/* Hears everything that is acknowledged late, and takes over nothing that is under way. */
	v[0].holds = true;
	write_devices(&w, 80, &done);
	apps_wait(&w, v, 3, done);
	v[2].dead = false;
	v[2].blind = true;
	for (int i = 0; i < 100; i++)
		apps_turn(&w, v, 3);
	write_devices(&w, 80, &done);
	for (int i = 0; i < 100; i++)
		apps_turn(&w, v, 3);
	assert_int_equal(v[2].n, 0);
	v[0].holds = v[2].blind = false;
	app_ack(&v[0], false);
	apps_wait(&w, v, 3, done);
	/* Its share, as soon as it is heard that it is there. */
	for (int i = 0; i < 30 && v[2].n <= 100; i++) {
		write_devices(&w, 400, &done);
		apps_wait(&w, v, 3, done);
	}
	assert_true(v[2].n > 100);
	/* Published, not acknowledged, and dead. */
	v[1].holds = true;
	write_devices(&w, 200, &done);
	apps_wait(&w, v, 3, done);
	app_kill(&v[1]);
	write_devices(&w, 200, &done);
	apps_wait(&w, v, 3, done);
	size_t opens = v[0].opens;
	assert_true(opens > 1); /* it was asked to look again */
	v[1].dead = v[1].holds = false;
	for (int i = 0; i < 200; i++)
		apps_turn(&w, v, 3);
	size_t before = v[1].n;
	for (int i = 0; i < 30 && v[1].n == before; i++) {
		write_devices(&w, 400, &done);
		apps_wait(&w, v, 3, done);
	}
	assert_true(v[1].n > before);
	assert_int_equal(v[0].opens, opens); /* who comes disturbs nobody */
	/* One takes its leave. */
	grpc_stream_half_close(v[2].stream);
	v[2].dead = true;
	write_devices(&w, 200, &done);
	apps_wait(&w, v, 3, done);
	ledger_end(&w, v, 3, done);
	for (int i = 0; i < 3; i++)
		app_kill(&v[i]);
	world_close(&w);
}

static void on_orphans(void *arg, const struct sql_outcome *o)
{
	assert_int_equal(o->err, 0);
	*(bool *)arg = true;
}

/* The events of a replica that is gone are served beside one's own, once. */
static void test_adopted(void **state)
{
	struct world w;
	struct reader rd;
	size_t done = 0;
	(void)state;
	world_open(&w, false);
	static const struct sql_stmt orphan = {.name = "t_orphan",
					       .text = "INSERT INTO outbox (origin, seq, body) VALUES ('gone', $1, $2)",
					       .params = "ly"};
	bool written = false;
	struct sql_tx *tx = sql_tx_new(w.rig->db);
	for (int i = 1; i <= 3; i++) {
		uint8_t mem[64];
		Longwave__Ns__V1__Event e = LONGWAVE__NS__V1__EVENT__INIT;
		e.origin = "gone";
		e.seq = (uint64_t)i;
		e.deduplication_id = "7";
		size_t n = longwave__ns__v1__event__pack(&e, mem);
		struct sql_params *p = sql_tx_add(tx, &orphan, NULL, NULL);
		sql_put_i64(p, i);
		sql_put_bytes(p, lw_span(mem, n));
	}
	sql_tx_commit(tx, on_orphans, &written);
	assert_true(rt_loop_run_until(w.rig->loop, &written, RIG_WAIT_MS));
	static uint8_t seen[16];
	memset(seen, 0, sizeof(seen));
	reader_open(&rd, &w, 0, "as");
	rd.seen = seen;
	turn(&w, 50);
	assert_int_equal(rd.n, 0);
	ns_event_stream_adopt(w.events, "gone");
	assert_true(ns_event_stream_serves(w.events, "gone"));
	for (int i = 0; i < 2000 && rd.stream; i++)
		turn(&w, 1);
	assert_int_equal(rd.status, GRPC_ABORTED); /* to say what it has of it */
	reader_close(&rd);
	reader_open(&rd, &w, 0, "as");
	rd.seen = seen;
	wait_for(&w, &rd.n, 3);
	assert_int_equal(seen[7], 3);
	ns_event_stream_give_back(w.events, "gone");
	assert_false(ns_event_stream_serves(w.events, "gone"));
	rd.seen = NULL;
	rd.last = 0;
	write_bulk(&w, 2, 10, &done);
	wait_for(&w, &rd.n, 5);
	reader_close(&rd);
	world_close(&w);
}

static void test_hold(void **state)
{
	struct world w;
	struct reader rd;
	size_t done = 0;
	(void)state;
	world_open(&w, false);
	reader_open(&rd, &w, 0, "as");
	write_bulk(&w, 3, 10, &done);
	wait_for(&w, &rd.n, 3);
	ns_event_stream_hold(w.events, true);
	write_bulk(&w, 4, 10, &done);
	turn(&w, 700); /* longer than its own retry */
	assert_int_equal(rd.n, 3);
	ns_event_stream_hold(w.events, false);
	wait_for(&w, &rd.n, 7);
	reader_close(&rd);
	world_close(&w);
}

static void test_position_of_another_life(void **state)
{
	struct world w;
	struct reader rd;
	size_t done = 0;
	(void)state;
	world_open(&w, false);
	write_bulk(&w, 3, 10, &done);
	reader_open(&rd, &w, ns_store_last_seq(w.rig->store) + 1000, "as");
	rd.last = 0;
	wait_for(&w, &rd.n, 3);
	assert_int_equal(left_in_outbox(&w), 3);
	reader_close(&rd);
	world_close(&w);
}

/* Ends while it is asking the database, and with the stream open. */
static void test_end_while_reading(void **state)
{
	(void)state;
	for (int i = 0; i < 6; i++) {
		struct world w;
		struct reader rd;
		size_t done = 0;
		world_open(&w, i % 2);
		write_bulk(&w, 100, 10, &done);
		reader_open(&rd, &w, 0, "as");
		for (int k = 0; k < 20 * i; k++)
			rt_loop_turn(w.rig->loop);
		if (i == 5)
			ns_event_stream_drain(w.events);
		reader_close(&rd);
		world_close(&w);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_live_and_acknowledged),
		cmocka_unit_test(test_replacement),
		cmocka_unit_test(test_split),
		cmocka_unit_test(test_adopted),
		cmocka_unit_test(test_hold),
		cmocka_unit_test(test_position_of_another_life),
		cmocka_unit_test(test_end_while_reading),
		cmocka_unit_test(test_endurance_sqlite),
		cmocka_unit_test(test_endurance_postgres),
		cmocka_unit_test(test_database_killed),
	};
	return cmocka_run_group_tests(tests, rig_group_setup, rig_group_teardown);
}
