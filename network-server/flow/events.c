/* Events for the application server, packed for the outbox. */
#include <stdlib.h>
#include <string.h>

#include "common/base/hex.h"
#include "common/base/xmalloc.h"
#include "common/pb/unpack.h"
#include "network-server/flow/internal.h"

struct ns_subject ns_subject_of(const struct ns_device *dev, const struct ns_region_config *rc, const char *dedup_id,
				int64_t time_ns)
{
	return (struct ns_subject){
		.dev_eui = dev->dev_eui,
		.devaddr = dev->session.devaddr,
		.has_devaddr = dev->has_session,
		.enabled_class = dev->has_session ? dev->session.enabled_class : LW_CLASS_A,
		.rc = rc,
		.dedup_id = dedup_id,
		.time_ns = time_ns,
	};
}

Google__Protobuf__Timestamp *ns_timestamp(struct lw_arena *a, int64_t ns)
{
	Google__Protobuf__Timestamp *t = LW_ARENA_NEW(a, Google__Protobuf__Timestamp);
	struct lw_sec_nanos s = lw_split_ns(ns);
	if (t == NULL)
		return NULL;
	google__protobuf__timestamp__init(t);
	t->seconds = s.sec;
	t->nanos = s.nanos;
	return t;
}

struct ns_event ns_event_pack(struct lw_arena *a, const struct ns_subject *s, Longwave__Ns__V1__Event *e)
{
	char eui[LW_EUI_TEXT];
	char addr[LW_DEVADDR_TEXT];
	struct ns_event out = {.dev_eui = s->dev_eui};
	e->time = ns_timestamp(a, s->time_ns);
	if (!lw_dev_eui_is_zero(s->dev_eui))
		e->dev_eui = lw_dev_eui_print(s->dev_eui, eui);
	if (s->has_devaddr)
		e->dev_addr = lw_devaddr_print(s->devaddr, addr);
	if (s->dedup_id != NULL)
		e->deduplication_id = (char *)(uintptr_t)s->dedup_id;
	if (s->rc != NULL)
		e->region_config_id = (char *)(uintptr_t)s->rc->id;
	e->enabled_class = (Common__DeviceClass)s->enabled_class;
	out.packed = lw_pb_pack_arena(&e->base, a);
	return out;
}

#define LOG_CONTEXT_MAX 8

struct ns_event ns_log_event(struct lw_arena *a, const struct ns_subject *s, unsigned level, unsigned code,
			     const char *description, const char *const *context)
{
	Longwave__Ns__V1__Event e = LONGWAVE__NS__V1__EVENT__INIT;
	Longwave__Ns__V1__LogEvent log = LONGWAVE__NS__V1__LOG_EVENT__INIT;
	Longwave__Ns__V1__LogEvent__ContextEntry entry[LOG_CONTEXT_MAX];
	Longwave__Ns__V1__LogEvent__ContextEntry *entries[LOG_CONTEXT_MAX];
	log.level = level;
	log.code = code;
	log.description = (char *)(uintptr_t)description;
	for (; context != NULL && context[0] != NULL && log.n_context < LOG_CONTEXT_MAX; context += 2) {
		longwave__ns__v1__log_event__context_entry__init(&entry[log.n_context]);
		entry[log.n_context].key = (char *)(uintptr_t)context[0];
		entry[log.n_context].value = (char *)(uintptr_t)context[1];
		entries[log.n_context] = &entry[log.n_context];
		log.n_context++;
	}
	log.context = entries;
	e.kind_case = LONGWAVE__NS__V1__EVENT__KIND_LOG;
	e.log = &log;
	return ns_event_pack(a, s, &e);
}

/* ---- of items that got no further than the API ---- */

struct refused {
	struct lw_arena arena;
	struct ns_change change;
	struct ns_event event;
};

/* Without a database the event is lost: nobody promised it, the caller has the answer. */
static void refused_told(struct ns_change *req)
{
	struct refused *r = req->owner;
	lw_arena_deinit(&r->arena);
	free(r);
}

void ns_flows_downlink_refused(struct ns_flows *f, const struct ns_device *dev, struct lw_uuid item, const char *why)
{
	struct refused *r = lw_xcalloc(1, sizeof(*r));
	struct ns_change *v[1] = {&r->change};
	char id[LW_UUID_TEXT];
	const char *const context[] = {"queue_item_id", lw_uuid_print(item, id), NULL};
	lw_arena_init(&r->arena, NULL, 0, NS_ARENA_MAX);
	struct ns_subject s = ns_subject_of(dev, NULL, NULL, ns_now(f));
	r->event = ns_log_event(&r->arena, &s, INTEGRATION__LOG_LEVEL__ERROR, INTEGRATION__LOG_CODE__UNKNOWN, why,
				context);
	r->change = (struct ns_change){
		.op = NS_SESSION_KEEP, .events = &r->event, .n_events = 1, .done = refused_told, .owner = r};
	f->ports->store.commit(f->ports->store.self, v, 1);
}

struct ns_event ns_ack_event(struct lw_arena *a, const struct ns_subject *s, struct lw_uuid item, bool acknowledged,
			     uint32_t f_cnt_down)
{
	char id[LW_UUID_TEXT];
	Longwave__Ns__V1__Event e = LONGWAVE__NS__V1__EVENT__INIT;
	Longwave__Ns__V1__AckEvent ack = LONGWAVE__NS__V1__ACK_EVENT__INIT;
	ack.queue_item_id = lw_uuid_print(item, id);
	ack.acknowledged = acknowledged;
	ack.f_cnt_down = f_cnt_down;
	e.kind_case = LONGWAVE__NS__V1__EVENT__KIND_ACK;
	e.ack = &ack;
	return ns_event_pack(a, s, &e);
}

struct ns_event ns_reencrypt_event(struct lw_arena *a, const struct ns_subject *s, const struct ns_session *session,
				   const struct ns_queue_item *items, size_t n)
{
	Longwave__Ns__V1__Event e = LONGWAVE__NS__V1__EVENT__INIT;
	Longwave__Ns__V1__ReencryptEvent r = LONGWAVE__NS__V1__REENCRYPT_EVENT__INIT;
	Longwave__Ns__V1__QueueItem *v = LW_ARENA_ARRAY(a, Longwave__Ns__V1__QueueItem, n);
	Longwave__Ns__V1__QueueItem **list = LW_ARENA_ARRAY(a, Longwave__Ns__V1__QueueItem *, n);
	char eui[LW_EUI_TEXT];
	if (v == NULL || list == NULL)
		return (struct ns_event){.dev_eui = s->dev_eui};
	lw_dev_eui_print(s->dev_eui, eui);
	for (size_t i = 0; i < n; i++) {
		char id[LW_UUID_TEXT];
		longwave__ns__v1__queue_item__init(&v[i]);
		v[i].id = lw_arena_strdup(a, lw_uuid_print(items[i].id, id));
		v[i].dev_eui = eui;
		v[i].f_port = items[i].f_port;
		v[i].confirmed = items[i].confirmed;
		v[i].sealed.data = (uint8_t *)(uintptr_t)items[i].sealed.p;
		v[i].sealed.len = items[i].sealed.n;
		v[i].session_key_id.data = (uint8_t *)(uintptr_t)items[i].session_key_id;
		v[i].session_key_id.len = items[i].session_key_id_len;
		list[i] = &v[i];
	}
	r.items = list;
	r.n_items = n;
	r.next_f_cnt = ns_session_next_f_cnt_down(session, true);
	r.session_key_id.data = (uint8_t *)(uintptr_t)session->session_key_id;
	r.session_key_id.len = session->session_key_id_len;
	e.kind_case = LONGWAVE__NS__V1__EVENT__KIND_REENCRYPT;
	e.reencrypt = &r;
	return ns_event_pack(a, s, &e);
}

struct ns_event ns_join_event(struct lw_arena *a, const struct ns_subject *s, const struct ns_session *session,
			      bool is_foreign, const char *app_s_key_kek, struct lw_span app_s_key)
{
	Longwave__Ns__V1__Event e = LONGWAVE__NS__V1__EVENT__INIT;
	Longwave__Ns__V1__JoinEvent j = LONGWAVE__NS__V1__JOIN_EVENT__INIT;
	Common__JoinServerContext ctx = COMMON__JOIN_SERVER_CONTEXT__INIT;
	Common__KeyEnvelope env = COMMON__KEY_ENVELOPE__INIT;
	char id[2 * NS_KEY_ID_MAX + 1] = "";
	j.session_key_id.data = (uint8_t *)(uintptr_t)session->session_key_id;
	j.session_key_id.len = session->session_key_id_len;
	j.mac_version = (Common__MacVersion)session->mac_version;
	if (is_foreign) {
		lw_hex_encode(session->session_key_id, session->session_key_id_len, id);
		ctx.session_key_id = id;
		if (app_s_key.n > 0) {
			env.kek_label = (char *)(uintptr_t)(app_s_key_kek != NULL ? app_s_key_kek : "");
			env.aes_key.data = (uint8_t *)(uintptr_t)app_s_key.p;
			env.aes_key.len = app_s_key.n;
			ctx.app_s_key = &env;
		}
		j.join_server_context = &ctx;
	}
	e.kind_case = LONGWAVE__NS__V1__EVENT__KIND_JOIN;
	e.join = &j;
	return ns_event_pack(a, s, &e);
}
