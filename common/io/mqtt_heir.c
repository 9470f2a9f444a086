#include "common/io/mqtt_heir.h"

#include <stdlib.h>

#include "common/base/xmalloc.h"
#include "common/runtime/log.h"
#include "common/runtime/loop.h"

#define POLL_MS 100
#define QUIET 5  /* polls without a message: nothing is left */
#define MOST 300 /* polls in all */

struct mqtt_heir {
	struct mqtt_heir_opts o;
	struct rt_log *log;
	struct mqtt *mqtt;
	char *client_id;
	struct rt_timer timer;
	uint64_t received;
	unsigned polls, quiet;
	bool connected, cut_off;
};

static void on_message(void *arg, const struct mqtt_message *m)
{
	struct mqtt_heir *h = arg;
	h->o.mqtt.on_message(h->o.mqtt.arg, m);
}

static bool before_ack(void *arg)
{
	struct mqtt_heir *h = arg;
	return h->o.mqtt.before_ack(h->o.mqtt.arg);
}

static void on_connect(void *arg, bool session_present)
{
	struct mqtt_heir *h = arg;
	(void)session_present;
	h->connected = true;
	h->o.on_connect(h->o.mqtt.arg, h->mqtt);
}

static void on_disconnect(void *arg, int err, const char *text)
{
	struct mqtt_heir *h = arg;
	(void)err;
	(void)text;
	/* One that was never connected has met a broker that is away. */
	h->cut_off = h->cut_off || h->connected;
	h->connected = false;
	h->quiet = 0;
}

static void end(struct mqtt_heir *h, bool taken)
{
	struct mqtt_heir_opts o = h->o;
	mqtt_heir_free(h);
	o.done(o.mqtt.arg, taken);
}

static void poll(struct rt_timer *t, void *arg)
{
	struct mqtt_heir *h = arg;
	struct mqtt_stats st;
	(void)t;
	if (h->cut_off) {
		end(h, false);
		return;
	}
	mqtt_stats(h->mqtt, &st);
	bool quiet = h->connected && st.received == h->received && h->o.is_idle(h->o.mqtt.arg);
	h->quiet = quiet ? h->quiet + 1 : 0;
	h->received = st.received;
	if (h->quiet < QUIET && ++h->polls < MOST)
		return;
	RT_LOG_INFO(h->log, "took what the broker kept for a replica that is gone", rt_str("client_id", h->client_id),
		    rt_u64("messages", h->received));
	if (h->quiet >= QUIET)
		mqtt_forget_session(h->mqtt);
	end(h, true);
}

struct mqtt_heir *mqtt_heir_new(struct rt_loop *loop, struct rt_log *log, const struct mqtt_heir_opts *o,
				struct lw_diag *diag)
{
	struct mqtt_heir *h = lw_xcalloc(1, sizeof(*h));
	struct mqtt_opts opts = o->mqtt;
	h->o = *o;
	h->log = log;
	h->client_id = lw_xstrdup(o->mqtt.client_id);
	opts.clean_session = false;
	opts.on_message = on_message;
	opts.before_ack = before_ack;
	opts.on_connect = on_connect;
	opts.on_disconnect = on_disconnect;
	opts.arg = h;
	h->mqtt = mqtt_new(loop, log, &opts, diag);
	if (!h->mqtt) {
		free(h->client_id);
		free(h);
		return NULL;
	}
	rt_timer_init(&h->timer, loop, "inherit", poll, h);
	rt_timer_start_every(&h->timer, POLL_MS);
	return h;
}

void mqtt_heir_free(struct mqtt_heir *h)
{
	if (!h)
		return;
	rt_timer_stop(&h->timer);
	mqtt_free(h->mqtt);
	free(h->client_id);
	free(h);
}

struct mqtt *mqtt_heir_client(struct mqtt_heir *h)
{
	return h->mqtt;
}
