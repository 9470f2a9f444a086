#include "app-server/domain/event.h"

#include <string.h>

#include "app-server/domain/payload.h"
#include "common/base/clock.h"
#include "common/base/err.h"
#include "common/base/hex.h"
#include "common/base/time.h"

#define KEY_ID_MAX 32

struct builder {
	const Longwave__Ns__V1__Event *e;
	const struct as_event_device *dev;
	const struct lw_key *key;
	struct lw_keycache *keys;
	struct lw_arena *a;
};

/* A zeroed message of its type in the arena, or return LW_ENOMEM. */
#define NEW(var_, type_, init_)                                                                                        \
	type_ *var_ = LW_ARENA_NEW(b->a, type_);                                                                       \
	if (!var_)                                                                                                     \
		return LW_ENOMEM;                                                                                      \
	init_(var_)

static char *borrow(const char *s)
{
	return (char *)(uintptr_t)(s ? s : "");
}

struct as_tags as_tags_merge(struct lw_arena *a, const struct as_tags *layers, size_t n)
{
	struct as_tags out = {0};
	size_t most = 0;
	for (size_t i = 0; i < n; i++)
		most += layers[i].n;
	out.v = lw_arena_calloc(a, most + 1, sizeof(*out.v));
	if (!out.v)
		return out;
	for (size_t i = 0; i < n; i++) {
		for (size_t k = 0; k < layers[i].n; k++) {
			size_t at = 0;
			while (at < out.n && strcmp(out.v[at]->key, layers[i].v[k]->key) != 0)
				at++;
			out.v[at] = layers[i].v[k];
			out.n += at == out.n;
		}
	}
	return out;
}

static Integration__DeviceInfo *device_info(struct builder *b, const struct as_tags *tags)
{
	Integration__DeviceInfo *d = LW_ARENA_NEW(b->a, Integration__DeviceInfo);
	if (!d)
		return NULL;
	integration__device_info__init(d);
	d->tenant_id = borrow(b->dev->tenant_id);
	d->tenant_name = borrow(b->dev->tenant_name);
	d->application_id = borrow(b->dev->application_id);
	d->application_name = borrow(b->dev->application_name);
	d->device_profile_id = borrow(b->dev->device_profile_id);
	d->device_profile_name = borrow(b->dev->device_profile_name);
	d->device_name = borrow(b->dev->device_name);
	d->dev_eui = borrow(b->dev->dev_eui);
	d->device_class_enabled = b->e->enabled_class;
	d->tags = tags->v;
	d->n_tags = tags->n;
	return d;
}

static Google__Protobuf__Timestamp *timestamp(struct builder *b, int64_t ns)
{
	Google__Protobuf__Timestamp *t = LW_ARENA_NEW(b->a, Google__Protobuf__Timestamp);
	struct lw_sec_nanos s = lw_split_ns(ns);
	if (!t)
		return NULL;
	google__protobuf__timestamp__init(t);
	t->seconds = s.sec;
	t->nanos = s.nanos;
	return t;
}

static int64_t server_time(const Longwave__Ns__V1__Event *e)
{
	return e->time ? lw_join_ns(e->time->seconds, e->time->nanos) : 0;
}

static bool near(int64_t a, int64_t b)
{
	return a - b <= AS_EVENT_TIME_TOLERANCE_NS && b - a <= AS_EVENT_TIME_TOLERANCE_NS;
}

int64_t as_event_time_ns(int64_t server_ns, Gw__UplinkRxInfo *const *rx, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const Google__Protobuf__Duration *d = rx[i]->time_since_gps_epoch;
		int64_t t = d ? lw_gps_to_unix_ns(lw_join_ns(d->seconds, d->nanos)) : 0;
		if (d && near(t, server_ns))
			return t;
	}
	for (size_t i = 0; i < n; i++) {
		const Google__Protobuf__Timestamp *ts = rx[i]->gw_time;
		int64_t t = ts ? lw_join_ns(ts->seconds, ts->nanos) : 0;
		if (ts && near(t, server_ns))
			return t;
	}
	return server_ns;
}

/* Members that every event has. */
#define FILL_COMMON(m_, tags_)                                                                                         \
	do {                                                                                                           \
		(m_)->time = timestamp(b, server_time(b->e));                                                          \
		(m_)->device_info = device_info(b, &b->dev->tags_);                                                    \
		if (!(m_)->time || !(m_)->device_info)                                                                 \
			return LW_ENOMEM;                                                                              \
	} while (0)

static int session_context(struct builder *b, const ProtobufCBinaryData *id, Common__JoinServerContext **out)
{
	if (id->len == 0 || id->len > KEY_ID_MAX)
		return 0;
	NEW(ctx, Common__JoinServerContext, common__join_server_context__init);
	ctx->session_key_id = lw_arena_alloc(b->a, 2 * id->len + 1);
	if (!ctx->session_key_id)
		return LW_ENOMEM;
	lw_hex_encode(id->data, id->len, ctx->session_key_id);
	*out = ctx;
	return 0;
}

static int build_up(struct builder *b, struct as_event *out)
{
	const Longwave__Ns__V1__UplinkEvent *u = b->e->uplink;
	struct lw_devaddr addr;
	NEW(m, Integration__UplinkEvent, integration__uplink_event__init);
	FILL_COMMON(m, tags);
	struct lw_sec_nanos t = lw_split_ns(as_event_time_ns(server_time(b->e), u->rx_info, u->n_rx_info));
	m->time->seconds = t.sec;
	m->time->nanos = t.nanos;
	m->deduplication_id = borrow(b->e->deduplication_id);
	m->dev_addr = borrow(b->e->dev_addr);
	m->adr = u->adr;
	m->dr = u->dr;
	m->f_cnt = u->f_cnt;
	m->f_port = u->f_port;
	m->confirmed = u->confirmed;
	m->rx_info = u->rx_info;
	m->n_rx_info = u->n_rx_info;
	m->tx_info = u->tx_info;
	m->region_config_id = borrow(b->e->region_config_id);
	*out = (struct as_event){"up", &m->base};
	if (u->f_port == 0)
		return 0;
	if (u->frm_payload.len > AS_PAYLOAD_MAX || lw_devaddr_parse(&addr, b->e->dev_addr) < 0)
		return LW_EINVAL;
	m->data = u->frm_payload;
	if (!b->key)
		return session_context(b, &u->session_key_id, &m->join_server_context);
	m->data.data = lw_arena_alloc(b->a, u->frm_payload.len);
	if (!m->data.data)
		return LW_ENOMEM;
	as_payload_decrypt_up(b->keys, b->key, addr, u->f_cnt, lw_span(u->frm_payload.data, u->frm_payload.len),
			      m->data.data);
	return 0;
}

static int build_join(struct builder *b, struct as_event *out)
{
	NEW(m, Integration__JoinEvent, integration__join_event__init);
	FILL_COMMON(m, tags);
	m->deduplication_id = borrow(b->e->deduplication_id);
	m->dev_addr = borrow(b->e->dev_addr);
	m->join_server_context = b->e->join->join_server_context;
	m->region_config_id = borrow(b->e->region_config_id);
	*out = (struct as_event){"join", &m->base};
	return 0;
}

static int build_ack(struct builder *b, struct as_event *out)
{
	NEW(m, Integration__AckEvent, integration__ack_event__init);
	FILL_COMMON(m, tags);
	m->deduplication_id = borrow(b->e->deduplication_id);
	m->queue_item_id = borrow(b->e->ack->queue_item_id);
	m->acknowledged = b->e->ack->acknowledged;
	m->f_cnt_down = b->e->ack->f_cnt_down;
	*out = (struct as_event){"ack", &m->base};
	return 0;
}

static int build_txack(struct builder *b, struct as_event *out)
{
	const Longwave__Ns__V1__TxAckEvent *t = b->e->tx_ack;
	NEW(m, Integration__TxAckEvent, integration__tx_ack_event__init);
	FILL_COMMON(m, tags_down);
	m->downlink_id = t->downlink_id;
	m->queue_item_id = borrow(t->queue_item_id);
	m->f_cnt_down = t->f_cnt_down;
	m->gateway_id = borrow(t->gateway_id);
	m->tx_info = t->tx_info;
	*out = (struct as_event){"txack", &m->base};
	return 0;
}

static int build_log(struct builder *b, struct as_event *out)
{
	const Longwave__Ns__V1__LogEvent *l = b->e->log;
	NEW(m, Integration__LogEvent, integration__log_event__init);
	FILL_COMMON(m, tags);
	m->level = (Integration__LogLevel)l->level;
	m->code = (Integration__LogCode)l->code;
	m->description = borrow(l->description);
	m->context = LW_ARENA_ARRAY(b->a, Integration__LogEvent__ContextEntry *, l->n_context + 1);
	if (!m->context)
		return LW_ENOMEM;
	for (size_t i = 0; i < l->n_context; i++) {
		NEW(entry, Integration__LogEvent__ContextEntry, integration__log_event__context_entry__init);
		entry->key = l->context[i]->key;
		entry->value = l->context[i]->value;
		m->context[m->n_context++] = entry;
	}
	*out = (struct as_event){"log", &m->base};
	return 0;
}

/* Answers to commands from outside, and what a device says in proprietary ones. Events of the reference have no kind of
 * their own for that. */
static int build_mac_commands(struct builder *b, struct as_event *out)
{
	const ProtobufCBinaryData *commands = &b->e->mac_commands->commands;
	NEW(m, Integration__LogEvent, integration__log_event__init);
	NEW(entry, Integration__LogEvent__ContextEntry, integration__log_event__context_entry__init);
	FILL_COMMON(m, tags);
	m->level = INTEGRATION__LOG_LEVEL__INFO;
	m->description = borrow("MAC commands of the device");
	entry->key = borrow("mac_commands");
	entry->value = LW_ARENA_ARRAY(b->a, char, 2 * commands->len + 1);
	m->context = LW_ARENA_ARRAY(b->a, Integration__LogEvent__ContextEntry *, 1);
	if (!m->context || !entry->value)
		return LW_ENOMEM;
	lw_hex_encode(commands->data, commands->len, entry->value);
	m->context[m->n_context++] = entry;
	*out = (struct as_event){"log", &m->base};
	return 0;
}

static int build_status(struct builder *b, struct as_event *out)
{
	const Longwave__Ns__V1__StatusEvent *s = b->e->status;
	NEW(m, Integration__StatusEvent, integration__status_event__init);
	FILL_COMMON(m, tags);
	m->deduplication_id = borrow(b->e->deduplication_id);
	m->margin = s->margin;
	m->external_power_source = s->battery == 0;
	m->battery_level_unavailable = s->battery == 255;
	if (s->battery > 0 && s->battery < 255)
		m->battery_level = (float)s->battery / 254.0F * 100.0F;
	*out = (struct as_event){"status", &m->base};
	return 0;
}

static int build_location(struct builder *b, struct as_event *out)
{
	NEW(m, Integration__LocationEvent, integration__location_event__init);
	FILL_COMMON(m, tags);
	m->deduplication_id = borrow(b->e->deduplication_id);
	m->location = b->e->location->location;
	*out = (struct as_event){"location", &m->base};
	return 0;
}

int as_event_build(const Longwave__Ns__V1__Event *e, const struct as_event_device *dev, const struct lw_key *app_s_key,
		   struct lw_keycache *keys, struct lw_arena *a, struct as_event *out)
{
	struct builder b = {e, dev, app_s_key, keys, a};
	*out = (struct as_event){0};
	switch (e->kind_case) {
	case LONGWAVE__NS__V1__EVENT__KIND_UPLINK:
		return build_up(&b, out);
	case LONGWAVE__NS__V1__EVENT__KIND_JOIN:
		return build_join(&b, out);
	case LONGWAVE__NS__V1__EVENT__KIND_ACK:
		return build_ack(&b, out);
	case LONGWAVE__NS__V1__EVENT__KIND_TX_ACK:
		return build_txack(&b, out);
	case LONGWAVE__NS__V1__EVENT__KIND_LOG:
		return build_log(&b, out);
	case LONGWAVE__NS__V1__EVENT__KIND_MAC_COMMANDS:
		return build_mac_commands(&b, out);
	case LONGWAVE__NS__V1__EVENT__KIND_STATUS:
		return build_status(&b, out);
	case LONGWAVE__NS__V1__EVENT__KIND_LOCATION:
		return build_location(&b, out);
	default:
		return 0;
	}
}

struct lw_span as_event_session(const Longwave__Ns__V1__Event *e)
{
	const ProtobufCBinaryData *id = NULL;
	if (e->kind_case == LONGWAVE__NS__V1__EVENT__KIND_UPLINK)
		id = &e->uplink->session_key_id;
	else if (e->kind_case == LONGWAVE__NS__V1__EVENT__KIND_REENCRYPT)
		id = &e->reencrypt->session_key_id;
	return id && id->len <= KEY_ID_MAX ? lw_span(id->data, id->len) : lw_span(NULL, 0);
}
