#include "app-server/replicas.h"

#include <stdlib.h>
#include <string.h>

#include "app-server/api/access.h"
#include "app-server/as.h"
#include "app-server/flow/events.h"
#include "app-server/integration/outlets.h"
#include "app-server/link/mqtt.h"
#include "app-server/link/nsync.h"
#include "common/base/ids.h"
#include "common/base/xmalloc.h"
#include "common/io/peers.h"

#define LOOK_MS 1000

struct as_replicas {
	struct as *as;
	struct peers *peers;
	struct rt_timer timer;
	size_t n; /* others */
	bool left;
};

static void on_change(void *arg)
{
	struct as_replicas *r = arg;
	size_t n = as_replicas_others(r->as);
	if (n < r->n && r->as->nsync)
		as_nsync_later(r->as->nsync);
	r->n = n;
}

static void on_resync(void *arg)
{
	struct as *as = ((struct as_replicas *)arg)->as;
	as_access_hear(as->access);
	as_events_hear(as, NULL);
	as_outlets_hear(as, NULL);
}

static void on_message(void *arg, const char *kind, struct lw_span body)
{
	struct as *as = ((struct as_replicas *)arg)->as;
	char eui[LW_EUI_TEXT] = "", id[LW_UUID_TEXT] = "";
	if (strcmp(kind, "access") == 0) {
		as_access_hear(as->access);
	} else if (strcmp(kind, "device") == 0 && body.n < sizeof(eui)) {
		memcpy(eui, body.p, body.n);
		as_events_hear(as, eui[0] ? eui : NULL);
	} else if (strcmp(kind, "integration") == 0 && body.n < sizeof(id)) {
		memcpy(id, body.p, body.n);
		as_outlets_hear(as, id[0] ? id : NULL);
	}
}

static void on_inherited(void *arg, const char *client_id)
{
	struct as_replicas *r = arg;
	peers_bury(r->peers, client_id);
}

static void on_timer(struct rt_timer *t, void *arg)
{
	struct as_replicas *r = arg;
	const char *const *gone;
	(void)t;
	if (r->left || !peers_is_first(r->peers))
		return;
	size_t n = peers_gone(r->peers, &gone);
	for (size_t i = 0; i < n; i++) {
		if (!peers_is_gone(r->peers, gone[i]))
			continue;
		if (!r->as->integration)
			peers_bury(r->peers, gone[i]);
		else
			as_integration_inherit(r->as->integration, gone[i], on_inherited, r);
	}
}

int as_replicas_init(void *owner, const struct rt_daemon_env *env, struct lw_diag *diag)
{
	struct as *as = owner;
	(void)env;
	if (!as->conf->redis_url[0])
		return 0;
	struct as_replicas *r = lw_xcalloc(1, sizeof(*r));
	r->as = as;
	struct peers_opts o = {.loop = as->loop,
			       .log = as->log,
			       .redis_url = as->conf->redis_url,
			       .group = "as",
			       .id = as->conf->mqtt_client_id,
			       .lease_ms = (uint32_t)as->conf->replica_lease_ms,
			       .on_change = on_change,
			       .on_resync = on_resync,
			       .on_message = on_message,
			       .arg = r};
	r->peers = peers_new(&o, diag);
	if (!r->peers) {
		free(r);
		return LW_EINVAL;
	}
	rt_timer_init(&r->timer, as->loop, "replicas", on_timer, r);
	rt_timer_start_every(&r->timer, LOOK_MS);
	as->replicas = r;
	return 0;
}

void as_replicas_deinit(void *owner)
{
	struct as *as = owner;
	struct as_replicas *r = as->replicas;
	if (!r)
		return;
	as->replicas = NULL;
	rt_timer_stop(&r->timer);
	peers_free(r->peers);
	free(r);
}

size_t as_replicas_others(const struct as *as)
{
	const char *const *names;
	return as->replicas ? peers_list(as->replicas->peers, &names) : 0;
}

void as_replicas_tell(struct as *as, const char *kind, const char *what)
{
	if (as->replicas)
		peers_tell(as->replicas->peers, kind, lw_span_str(what));
}

void as_replicas_announce(struct as *as, const char *kind, const char *what)
{
	if (as->replicas)
		peers_announce(as->replicas->peers, kind, lw_span_str(what));
}

void as_replicas_leave(struct as *as)
{
	if (!as->replicas)
		return;
	as->replicas->left = true;
	peers_leave(as->replicas->peers);
}
