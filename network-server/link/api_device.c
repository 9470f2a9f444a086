/* Apply, sessions. */
#include <stdlib.h>
#include <string.h>

#include "common/base/xmalloc.h"
#include "common/lorawan/netid.h"
#include "common/lorawan/mac.h"
#include "network-server/domain/activate.h"
#include "network-server/domain/mac_list.h"
#include "network-server/domain/session_export.h"
#include "network-server/link/api_impl.h"

#define ADDRESS_ATTEMPTS 16

bool ns_api_dev_eui(struct grpc_call *c, const char *text, struct lw_dev_eui *out)
{
	if (lw_dev_eui_parse(out, text) == 0)
		return true;
	grpc_call_finish(c, GRPC_INVALID_ARGUMENT, "dev_eui is not an EUI of 16 hex digits");
	return false;
}

void ns_api_fail(struct grpc_call *c, int err, const char *what)
{
	grpc_call_finishf(c, grpc_status_from_err(err), "%s: %s", what, lw_err_text(err));
}

void ns_api_reply_empty(struct grpc_call *c)
{
	Google__Protobuf__Empty empty = GOOGLE__PROTOBUF__EMPTY__INIT;
	grpc_call_reply(c, &empty.base);
}

/* ---- Apply ---- */

static void on_applied(void *arg, int err, const char *const *errors, size_t n)
{
	struct grpc_call *c = arg;
	Longwave__Ns__V1__ApplyResponse resp = LONGWAVE__NS__V1__APPLY_RESPONSE__INIT;
	if (err) {
		ns_api_fail(c, err, "apply");
		return;
	}
	resp.errors = LW_ARENA_ARRAY(grpc_call_arena(c), char *, n ? n : 1);
	for (size_t i = 0; resp.errors && i < n; i++)
		resp.errors[resp.n_errors++] = (char *)(uintptr_t)errors[i]; /* only read */
	grpc_call_reply(c, &resp.base);
}

/* A profile that names a configuration which is not served is taken: the application server may only repeat what it was
 * told while there was one. It is told in the log, and by each frame that meets it. */
void ns_api_apply(struct grpc_call *c, const ProtobufCMessage *req, void *arg)
{
	const Longwave__Ns__V1__ApplyRequest *r = (const Longwave__Ns__V1__ApplyRequest *)req;
	struct ns_api *a = arg;
	for (size_t i = 0; i < r->n_changes; i++)
		if (r->changes[i]->change_case == LONGWAVE__NS__V1__CHANGE__CHANGE_PUT_DEVICE_PROFILE)
			ns_api_warn_of_region(a, r->changes[i]->put_device_profile->id,
					      r->changes[i]->put_device_profile->region_config_id);
	ns_store_apply(a->o.store, r, on_applied, c);
}

/* ---- sessions ---- */

/* One fetch, then perhaps one commit, for one call. */
struct session_call {
	struct ns_api *api;
	struct grpc_call *call;
	const ProtobufCMessage *req;
	struct ns_fetch fetch;
	struct ns_change change;
	struct ns_session session;
	struct ns_queue_op op;
	unsigned attempts;
	void (*then)(struct session_call *s, struct ns_device *d);
};

static void fail(struct session_call *s, int status, const char *text)
{
	grpc_call_finish(s->call, status, text);
	lw_wipe(&s->session, sizeof(s->session));
	free(s);
}

static void on_fetched(struct ns_fetch *req)
{
	struct session_call *s = req->owner;
	if (req->err)
		fail(s, grpc_status_from_err(req->err), "the device cannot be read");
	else if (!req->n)
		fail(s, GRPC_NOT_FOUND, "device does not exist");
	else
		s->then(s, req->devices[0]);
}

static void fetch(struct session_call *s)
{
	struct ns_store_port port;
	struct ns_fetch *v[1] = {&s->fetch};
	ns_store_fill_port(s->api->o.store, &port);
	port.fetch(port.self, v, 1);
}

static void begin(struct ns_api *a, struct grpc_call *c, const ProtobufCMessage *req, const char *dev_eui,
		  void (*then)(struct session_call *, struct ns_device *))
{
	struct lw_dev_eui eui;
	if (!ns_api_dev_eui(c, dev_eui, &eui))
		return;
	struct session_call *s = lw_xcalloc(1, sizeof(*s));
	s->api = a;
	s->call = c;
	s->req = req;
	s->then = then;
	s->fetch = (struct ns_fetch){.dev_eui = eui, .arena = grpc_call_arena(c), .done = on_fetched, .owner = s};
	fetch(s);
}

static void on_committed(struct ns_change *req)
{
	struct session_call *s = req->owner;
	/* A frame of the device came in between: read it again. */
	if (req->err == LW_ECONFLICT && ++s->attempts < 5) {
		fetch(s);
		return;
	}
	if (req->err) {
		fail(s, grpc_status_from_err(req->err), "the session cannot be written");
		return;
	}
	ns_api_reply_empty(s->call);
	lw_wipe(&s->session, sizeof(s->session));
	free(s);
}

static void commit(struct session_call *s, const struct ns_device *d, enum ns_session_op op, bool flush)
{
	struct ns_store_port port;
	struct ns_change *v[1] = {&s->change};
	s->op = (struct ns_queue_op){.kind = flush ? NS_QUEUE_FLUSH : NS_QUEUE_RELEASE_ALL};
	s->change = (struct ns_change){.dev_eui = d->dev_eui,
				       .op = op,
				       .version = d->version,
				       .session = op == NS_SESSION_PUT ? &s->session : NULL,
				       .queue_ops = &s->op,
				       .n_queue_ops = 1,
				       .done = on_committed,
				       .owner = s};
	ns_store_fill_port(s->api->o.store, &port);
	port.commit(port.self, v, 1);
}

/* The session alone: the queue stays as it is. */
static void commit_session(struct session_call *s, const struct ns_device *d)
{
	struct ns_store_port port;
	struct ns_change *v[1] = {&s->change};
	s->change = (struct ns_change){.dev_eui = d->dev_eui,
				       .op = NS_SESSION_PUT,
				       .version = d->version,
				       .session = &s->session,
				       .done = on_committed,
				       .owner = s};
	ns_store_fill_port(s->api->o.store, &port);
	port.commit(port.self, v, 1);
}

/* Why region_for() found none. */
static const char *no_region(struct session_call *s, const char *id, const struct ns_profile *p)
{
	struct lw_arena *a = grpc_call_arena(s->call);
	const char *known = ns_api_region_names(s->api, p->region, a);
	if (id[0])
		return lw_arena_printf(a, "region_config_id: %.40s is not enabled here; %s", id, known);
	if (p->region_config_id[0])
		return lw_arena_printf(a, "region_config_id of the device profile: %s is not enabled here; %s",
				       p->region_config_id, known);
	return lw_arena_printf(a, "no region configuration for this device profile is enabled; %s", known);
}

static const struct ns_region_config *region_for(const struct ns_api *a, const char *id, const struct ns_profile *p)
{
	for (size_t i = 0; i < a->o.n_regions; i++) {
		const struct ns_region_config *rc = a->o.regions[i];
		if (id[0]                    ? strcmp(rc->id, id) == 0
		    : p->region_config_id[0] ? strcmp(rc->id, p->region_config_id) == 0
					     : lw_region_base(rc->region) == p->region)
			return rc;
	}
	return NULL;
}

static void commit_activation(struct session_call *s, const struct ns_device *d, bool flush_queue)
{
	if (s->api->o.on_activated)
		s->api->o.on_activated(s->api->o.arg, s->session.devaddr);
	commit(s, d, NS_SESSION_PUT, flush_queue);
}

static void activate(struct session_call *s, struct ns_device *d)
{
	const Longwave__Ns__V1__ActivateRequest *req = (const Longwave__Ns__V1__ActivateRequest *)s->req;
	const struct ns_region_config *rc = region_for(s->api, req->session->region_config_id, &d->profile);
	const char *why = "";
	if (!rc)
		fail(s, GRPC_FAILED_PRECONDITION, no_region(s, req->session->region_config_id, &d->profile));
	else if (ns_activate(req->session, &d->profile, rc, &s->session, &why))
		fail(s, GRPC_INVALID_ARGUMENT, why);
	else
		commit_activation(s, d, req->flush_queue);
}

void ns_api_activate(struct grpc_call *c, const ProtobufCMessage *req, void *arg)
{
	const Longwave__Ns__V1__ActivateRequest *r = (const Longwave__Ns__V1__ActivateRequest *)req;
	if (!r->session)
		grpc_call_finish(c, GRPC_INVALID_ARGUMENT, "session is missing");
	else
		begin(arg, c, req, r->session->dev_eui, activate);
}

static void enqueue_mac(struct session_call *s, struct ns_device *d)
{
	const Longwave__Ns__V1__EnqueueMacCommandsRequest *req =
		(const Longwave__Ns__V1__EnqueueMacCommandsRequest *)s->req;
	if (!d->has_session) {
		fail(s, GRPC_FAILED_PRECONDITION, "the device is not activated");
		return;
	}
	s->session = d->session;
	if (ns_session_mac_enqueue(&s->session, lw_span(req->commands.data, req->commands.len), false))
		fail(s, GRPC_RESOURCE_EXHAUSTED, "more MAC commands than may wait for a device");
	else
		commit_session(s, d);
}

/* What a device could read; behind a proprietary command, whose length nobody knows here, anything goes. NULL: fine. */
static const char *bad_commands(struct lw_span commands)
{
	struct lw_mac_iter it;
	struct lw_mac_cmd cmd;
	int rc;
	lw_mac_iter_init(&it, LW_DOWN, commands);
	while ((rc = lw_mac_iter_next(&it, &cmd)) == 1)
		;
	if (rc == LW_ETRUNC)
		return "the last of the MAC commands is cut off";
	if (rc < 0 && it.rest.n > 0 && it.rest.p[0] < LW_CID_PROPRIETARY)
		return "there is an identifier of no MAC command that a network sends";
	return NULL;
}

void ns_api_enqueue_mac_commands(struct grpc_call *c, const ProtobufCMessage *req, void *arg)
{
	const Longwave__Ns__V1__EnqueueMacCommandsRequest *r = (const Longwave__Ns__V1__EnqueueMacCommandsRequest *)req;
	const char *bad = bad_commands(lw_span(r->commands.data, r->commands.len));
	if (!r->commands.len)
		grpc_call_finish(c, GRPC_INVALID_ARGUMENT, "commands are missing");
	else if (bad != NULL)
		grpc_call_finish(c, GRPC_INVALID_ARGUMENT, bad);
	else
		begin(arg, c, req, r->dev_eui, enqueue_mac);
}

static void flush_mac(struct session_call *s, struct ns_device *d)
{
	if (!d->has_session || d->session.mac_queue_len == 0) {
		ns_api_reply_empty(s->call);
		free(s);
		return;
	}
	s->session = d->session;
	s->session.mac_queue_len = 0;
	commit_session(s, d);
}

void ns_api_flush_mac_commands(struct grpc_call *c, const ProtobufCMessage *req, void *arg)
{
	begin(arg, c, req, ((const Longwave__Ns__V1__DeviceRequest *)req)->dev_eui, flush_mac);
}

static void deactivate(struct session_call *s, struct ns_device *d)
{
	commit(s, d, NS_SESSION_DELETE, true);
}

void ns_api_deactivate(struct grpc_call *c, const ProtobufCMessage *req, void *arg)
{
	begin(arg, c, req, ((const Longwave__Ns__V1__DeviceRequest *)req)->dev_eui, deactivate);
}

static void get_session(struct session_call *s, struct ns_device *d)
{
	Longwave__Ns__V1__GetSessionResponse resp = LONGWAVE__NS__V1__GET_SESSION_RESPONSE__INIT;
	resp.max_mac_command_bytes = NS_MAC_QUEUE_MAX;
	Longwave__Ns__V1__Session session = LONGWAVE__NS__V1__SESSION__INIT;
	if (d->has_session) {
		ns_session_expected(&d->session, &s->session);
		ns_session_to_pb(d->dev_eui, &s->session, grpc_call_arena(s->call), &session);
		resp.session = &session;
		resp.mac_commands =
			ns_mac_list(grpc_call_arena(s->call), LW_DOWN,
				    lw_span(d->session.mac_queue, d->session.mac_queue_len), &resp.n_mac_commands);
		resp.mac_command_bytes = d->session.mac_queue_len;
	}
	grpc_call_reply(s->call, &resp.base);
	free(s);
}

void ns_api_get_session(struct grpc_call *c, const ProtobufCMessage *req, void *arg)
{
	begin(arg, c, req, ((const Longwave__Ns__V1__DeviceRequest *)req)->dev_eui, get_session);
}

/* ---- moving ---- */

static void export_session(struct session_call *s, struct ns_device *d)
{
	Longwave__Ns__V1__ExportSessionResponse resp = LONGWAVE__NS__V1__EXPORT_SESSION_RESPONSE__INIT;
	if (!d->has_session) {
		fail(s, GRPC_FAILED_PRECONDITION, "the device is not activated");
		return;
	}
	resp.session = ns_session_export(d->dev_eui, &d->session, grpc_call_arena(s->call));
	grpc_call_reply(s->call, &resp.base);
	free(s);
}

void ns_api_export_session(struct grpc_call *c, const ProtobufCMessage *req, void *arg)
{
	begin(arg, c, req, ((const Longwave__Ns__V1__DeviceRequest *)req)->dev_eui, export_session);
}

static void import_session(struct session_call *s, struct ns_device *d)
{
	const Longwave__Ns__V1__ImportSessionRequest *req = (const Longwave__Ns__V1__ImportSessionRequest *)s->req;
	const char *id = req->session->region_config_id;
	const struct ns_region_config *rc = region_for(s->api, id, &d->profile);
	struct lw_diag diag = {.text = ""};
	if (!rc || lw_region_base(rc->region) != d->profile.region) {
		fail(s, GRPC_FAILED_PRECONDITION,
		     rc ? "region_config_id is of another region than the device profile"
			: no_region(s, id, &d->profile));
		return;
	}
	int err = ns_session_import(req->session, &d->profile, rc, &s->session, &diag);
	if (err)
		fail(s, err == LW_EPRECONDITION ? GRPC_FAILED_PRECONDITION : GRPC_INVALID_ARGUMENT, diag.text);
	else
		commit_activation(s, d, req->flush_queue);
}

void ns_api_import_session(struct grpc_call *c, const ProtobufCMessage *req, void *arg)
{
	const Longwave__Ns__V1__ImportSessionRequest *r = (const Longwave__Ns__V1__ImportSessionRequest *)req;
	if (!r->session)
		grpc_call_finish(c, GRPC_INVALID_ARGUMENT, "session is missing");
	else
		begin(arg, c, req, r->session->dev_eui, import_session);
}

/* ---- addresses ---- */

struct address_call {
	struct ns_api *api;
	struct grpc_call *call;
	struct ns_addr_check check;
	unsigned attempts;
};

static void try_address(struct address_call *s)
{
	struct ns_store_port port;
	struct ns_addr_check *v[1] = {&s->check};
	s->check.addr = ns_random_devaddr(s->api->o.devaddr_prefix, s->api->o.rng);
	ns_store_fill_port(s->api->o.store, &port);
	port.addr_check(port.self, v, 1);
}

static void on_checked(struct ns_addr_check *req)
{
	struct address_call *s = req->owner;
	if (!req->err && req->in_use && ++s->attempts < ADDRESS_ATTEMPTS) {
		try_address(s);
		return;
	}
	if (req->err) {
		ns_api_fail(s->call, req->err, "addresses in use cannot be read");
	} else if (req->in_use) {
		grpc_call_finish(s->call, GRPC_RESOURCE_EXHAUSTED, "no free device address was found");
	} else {
		Longwave__Ns__V1__GetRandomDevAddrResponse resp = LONGWAVE__NS__V1__GET_RANDOM_DEV_ADDR_RESPONSE__INIT;
		char text[LW_DEVADDR_TEXT];
		resp.dev_addr = lw_devaddr_print(req->addr, text);
		grpc_call_reply(s->call, &resp.base);
	}
	free(s);
}

void ns_api_random_dev_addr(struct grpc_call *c, const ProtobufCMessage *req, void *arg)
{
	struct address_call *s = lw_xcalloc(1, sizeof(*s));
	(void)req;
	s->api = arg;
	s->call = c;
	s->check = (struct ns_addr_check){.done = on_checked, .owner = s};
	try_address(s);
}
