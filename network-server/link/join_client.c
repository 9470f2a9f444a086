#include "network-server/link/join_client.h"

#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/hex.h"
#include "common/base/list.h"
#include "common/base/rng.h"
#include "common/base/xmalloc.h"
#include "common/crypto/keywrap.h"
#include "common/runtime/log.h"
#include "common/runtime/loop.h"

#define MAX_ANSWER 4096
#define CONNECTIONS 32
#define BATCH_MAX 500  /* questions in one request, however many a server takes */
#define BATCHES_OPEN 3 /* requests of several questions under way; what comes meanwhile goes with the next one */
#define BATCH_HEADER "Longwave-Batch"

/* A join server, and whether it takes an array of questions in one request: ours says so with each answer. */
struct target {
	struct ns_join_server s;
	size_t batch_max; /* 0: one question a request, as in the standard */
	struct lw_list waiting;
	size_t n_waiting;
	unsigned open;
};

struct ns_join_client {
	struct ns_join_client_opts o;
	struct http_client *http;
	struct target *servers;
	struct ns_kek *keks;
	bool closing;
};

struct asking {
	struct lw_list node;
	struct ns_join_ask *ask;
	uint32_t transaction_id;
	int64_t began_ns;
};

/* One HTTP request. */
struct exchange {
	struct ns_join_client *c;
	struct target *t;
	const char *url; /* what of the server's list is left, this one included */
	bool is_batch;
	size_t n;
	struct asking *v[];
};

static void send(struct exchange *x);
static void pump(struct ns_join_client *c, struct target *t);

static char *print_hex(struct lw_span s, char *out)
{
	lw_hex_encode(s.p, s.n, out);
	return out;
}

int ns_join_build(const struct ns_join_ask *ask, uint32_t transaction_id, struct lw_buf *out)
{
	char netid[LW_NETID_TEXT], join_eui[LW_EUI_TEXT], dev_eui[LW_EUI_TEXT], devaddr[LW_DEVADDR_TEXT];
	char phy[2 * 64 + 1], cflist[2 * 16 + 1];
	if (ask->phy.n > 64)
		return LW_EBIG;
	lw_buf_printf(out,
		      "{\"ProtocolVersion\":\"1.0\",\"SenderID\":\"%s\",\"ReceiverID\":\"%s\",\"TransactionID\":%u,"
		      "\"MessageType\":\"%s\",\"MACVersion\":\"%s\",\"PHYPayload\":\"%s\",\"DevEUI\":\"%s\","
		      "\"DevAddr\":\"%s\","
		      "\"DLSettings\":\"%02x\",\"RxDelay\":%u",
		      lw_netid_print(ask->netid, netid), lw_join_eui_print(ask->join_eui, join_eui), transaction_id,
		      ask->is_rejoin ? "RejoinReq" : "JoinReq", lw_mac_version_text(ask->mac_version),
		      print_hex(ask->phy, phy), lw_dev_eui_print(ask->dev_eui, dev_eui),
		      lw_devaddr_print(ask->devaddr, devaddr), ask->dl_settings, ask->rx_delay_s);
	if (ask->has_cflist)
		lw_buf_printf(out, ",\"CFList\":\"%s\"", print_hex(lw_span(ask->cflist, sizeof(ask->cflist)), cflist));
	lw_buf_append_str(out, "}");
	return out->err;
}

static const char *text(json_object *o, const char *name)
{
	json_object *v = NULL;
	if (!o || !json_object_object_get_ex(o, name, &v) || !json_object_is_type(v, json_type_string))
		return "";
	return json_object_get_string(v);
}

/* Hex text, with or without 0x, into the arena. */
static struct lw_span hex_member(json_object *o, const char *name, size_t max, struct lw_arena *arena)
{
	const char *t = text(o, name);
	if (t[0] == '0' && (t[1] == 'x' || t[1] == 'X'))
		t += 2;
	size_t n = strlen(t) % 2 ? 0 : strlen(t) / 2;
	uint8_t *p = n && n <= max ? lw_arena_alloc(arena, n) : NULL;
	if (!p || lw_hex_decode(t, 2 * n, p, n) < 0)
		return lw_span(NULL, 0);
	return lw_span(p, n);
}

/* False: absent, or wrapped with a key that we do not have. */
static bool read_key(json_object *root, const char *name, const struct ns_kek *keks, size_t n_keks,
		     struct lw_arena *arena, struct lw_key *out)
{
	json_object *env = NULL;
	if (!json_object_object_get_ex(root, name, &env) || !json_object_is_type(env, json_type_object))
		return false;
	const char *label = text(env, "KEKLabel");
	struct lw_span key = hex_member(env, "AESKey", 24, arena);
	if (!label[0] && key.n == sizeof(out->b)) {
		memcpy(out->b, key.p, key.n);
		return true;
	}
	for (size_t i = 0; i < n_keks; i++)
		if (strcmp(keks[i].label, label) == 0 && key.n == 24)
			return lw_keyunwrap(&keks[i].key, key.p, key.n, out->b) == (int)sizeof(out->b);
	return false;
}

static enum ns_join_result result_of(const char *code, const char *description)
{
	if (strcmp(code, "Success") == 0)
		return NS_JOIN_OK;
	if (strcmp(code, "MICFailed") == 0)
		return NS_JOIN_MIC;
	if (strcmp(code, "UnknownDevEUI") == 0)
		return NS_JOIN_UNKNOWN_DEV;
	if (strcmp(code, "FrameReplayed") == 0 ||
	    (strcmp(code, "JoinReqFailed") == 0 &&
	     (strcasestr(description, "nonce") || strcasestr(description, "RJcount"))))
		return NS_JOIN_NONCE_REUSED;
	if (strcmp(code, "UnknownReceiver") == 0 || strcmp(code, "UnkownReceiver") == 0)
		return NS_JOIN_UNKNOWN_EUI;
	return NS_JOIN_REFUSED;
}

static bool read_session(struct ns_join_ask *ask, json_object *root, const struct ns_kek *keks, size_t n_keks,
			 bool is_own)
{
	struct lw_span id = hex_member(root, "SessionKeyID", NS_KEY_ID_MAX, ask->arena);
	json_object *env = NULL;
	ask->accept = hex_member(root, "PHYPayload", 64, ask->arena);
	ask->session_key_id_len = (uint8_t)id.n;
	if (id.n)
		memcpy(ask->session_key_id, id.p, id.n);
	ask->is_10 = read_key(root, "NwkSKey", keks, n_keks, ask->arena, &ask->f_nwk_s_int_key);
	if (ask->is_10) {
		ask->s_nwk_s_int_key = ask->nwk_s_enc_key = ask->f_nwk_s_int_key;
	} else if (!read_key(root, "FNwkSIntKey", keks, n_keks, ask->arena, &ask->f_nwk_s_int_key) ||
		   !read_key(root, "SNwkSIntKey", keks, n_keks, ask->arena, &ask->s_nwk_s_int_key) ||
		   !read_key(root, "NwkSEncKey", keks, n_keks, ask->arena, &ask->nwk_s_enc_key)) {
		snprintf(ask->detail, sizeof(ask->detail), "the answer has no session keys that we can read");
		return false;
	}
	ask->is_foreign = !is_own;
	ask->app_s_key_kek = "";
	if (!is_own && json_object_object_get_ex(root, "AppSKey", &env) && json_object_is_type(env, json_type_object)) {
		ask->app_s_key = hex_member(env, "AESKey", 24, ask->arena);
		const char *label = lw_arena_strdup(ask->arena, text(env, "KEKLabel"));
		ask->app_s_key_kek = label ? label : "";
	}
	if (!ask->accept.n) {
		snprintf(ask->detail, sizeof(ask->detail), "the answer has no PHYPayload");
		return false;
	}
	return true;
}

/* Belongs to the one transaction, or says why not. */
static void read_answer(struct ns_join_ask *ask, json_object *root, uint32_t transaction_id, const struct ns_kek *keks,
			size_t n_keks, bool is_own)
{
	json_object *result = NULL, *id = NULL;
	ask->result = NS_JOIN_REFUSED;
	if (!root || !json_object_is_type(root, json_type_object) ||
	    !json_object_object_get_ex(root, "Result", &result)) {
		snprintf(ask->detail, sizeof(ask->detail), "the answer is not a JoinAns");
	} else if (!json_object_object_get_ex(root, "TransactionID", &id) ||
		   (uint32_t)json_object_get_int64(id) != transaction_id) {
		snprintf(ask->detail, sizeof(ask->detail), "the answer belongs to another transaction");
	} else {
		const char *code = text(result, "ResultCode"), *words = text(result, "Description");
		ask->result = result_of(code, words);
		snprintf(ask->detail, sizeof(ask->detail), "%s%s%.60s", code, words[0] ? ": " : "", words);
		if (ask->result == NS_JOIN_OK && !read_session(ask, root, keks, n_keks, is_own))
			ask->result = NS_JOIN_REFUSED;
	}
}

static json_object *parse(struct lw_span json)
{
	json_tokener *t = json_tokener_new_ex(8);
	json_object *root = json.n ? json_tokener_parse_ex(t, (const char *)json.p, (int)json.n) : NULL;
	json_tokener_free(t);
	return root;
}

void ns_join_read(struct ns_join_ask *ask, struct lw_span json, uint32_t transaction_id, const struct ns_kek *keks,
		  size_t n_keks, bool is_own)
{
	json_object *root = parse(json);
	read_answer(ask, root, transaction_id, keks, n_keks, is_own);
	json_object_put(root);
}

static void done(struct asking *a)
{
	a->ask->done(a->ask);
	free(a);
}

static void unavailable(struct asking *a, const struct http_client_response *resp)
{
	struct ns_join_ask *ask = a->ask;
	ask->result = NS_JOIN_UNAVAILABLE;
	if (resp->err)
		snprintf(ask->detail, sizeof(ask->detail), "join server: %.70s", resp->error);
	else
		snprintf(ask->detail, sizeof(ask->detail), "join server answered HTTP %d", resp->status);
	done(a);
}

static void read_batch(struct exchange *x, json_object *root)
{
	for (size_t i = 0; i < x->n; i++) {
		read_answer(x->v[i]->ask, json_object_array_get_idx(root, i), x->v[i]->transaction_id, x->c->keks,
			    x->c->o.n_keks, x->t->s.is_own);
		done(x->v[i]);
	}
	json_object_put(root);
}

/* Not the server that took arrays a moment ago: each question alone, and first of all. */
static void ask_one_by_one(struct exchange *x)
{
	struct lw_list again;
	lw_list_init(&again);
	for (size_t i = 0; i < x->n; i++)
		lw_list_push_back(&again, &x->v[i]->node);
	x->t->n_waiting += x->n;
	lw_list_splice_back(&again, &x->t->waiting);
	lw_list_splice_back(&x->t->waiting, &again);
	x->t->batch_max = 0;
}

static void on_batch(struct exchange *x, const struct http_client_response *resp)
{
	json_object *root = resp->err || resp->status != 200 ? NULL : parse(resp->body);
	if (root && json_object_is_type(root, json_type_array) && json_object_array_length(root) == x->n) {
		read_batch(x, root);
		return;
	}
	json_object_put(root);
	x->t->batch_max = 0;
	if (!resp->err && !x->c->closing) {
		ask_one_by_one(x);
		return;
	}
	for (size_t i = 0; i < x->n; i++)
		unavailable(x->v[i], resp);
}

static void on_answer(void *arg, const struct http_client_response *resp)
{
	struct exchange *x = arg;
	struct ns_join_client *c = x->c;
	struct target *t = x->t;
	/* Some join servers send their Result with a status other than 200. */
	bool has_body = !resp->err && resp->body.n && (resp->status == 200 || resp->status == 400);
	const char *next = strchr(x->url, ',');
	if (!has_body && next && !c->closing) { /* another replica of it */
		x->url = next + 1 + strspn(next + 1, ", ");
		send(x);
		return;
	}
	t->open--;
	if (x->is_batch) {
		on_batch(x, resp);
	} else if (has_body) {
		size_t max = (size_t)strtoul(resp->header, NULL, 10);
		t->batch_max = max < BATCH_MAX ? max : BATCH_MAX;
		ns_join_read(x->v[0]->ask, resp->body, x->v[0]->transaction_id, c->keks, c->o.n_keks, t->s.is_own);
		done(x->v[0]);
	} else {
		t->batch_max = 0;
		unavailable(x->v[0], resp);
	}
	free(x);
	if (!c->closing)
		pump(c, t);
}

static struct target *choose(const struct ns_join_client *c, struct lw_join_eui eui)
{
	struct target *best = NULL;
	char hex[LW_EUI_TEXT];
	lw_join_eui_print(eui, hex);
	for (size_t i = 0; i < c->o.n_servers; i++) {
		struct target *t = &c->servers[i];
		size_t n = strlen(t->s.join_eui_prefix);
		if (strncasecmp(t->s.join_eui_prefix, hex, n) == 0 && (!best || n > strlen(best->s.join_eui_prefix)))
			best = t;
	}
	return best;
}

static void send(struct exchange *x)
{
	struct ns_join_client *c = x->c;
	struct lw_buf body;
	char authorization[600], url[512];
	const char *headers[1] = {authorization};
	lw_buf_init(&body, x->n * MAX_ANSWER);
	for (size_t i = 0; i < x->n; i++) {
		if (x->is_batch)
			lw_buf_append_str(&body, i ? "," : "[");
		ns_join_build(x->v[i]->ask, x->v[i]->transaction_id, &body);
	}
	if (x->is_batch)
		lw_buf_append_str(&body, "]");
	snprintf(authorization, sizeof(authorization), "Authorization: %s", x->t->s.authorization);
	snprintf(url, sizeof(url), "%.*s", (int)strcspn(x->url, ", "), x->url);
	struct http_client_request req = {.method = "POST",
					  .url = url,
					  .body = lw_buf_span(&body),
					  .content_type = "application/json",
					  .headers = headers,
					  .n_headers = x->t->s.authorization[0] != 0,
					  .want_header = BATCH_HEADER,
					  .timeout_ms = c->o.timeout_ms,
					  .max_response = x->n * MAX_ANSWER};
	http_client_send(c->http, &req, on_answer, x);
	lw_buf_deinit(&body);
}

static struct asking *take(struct target *t)
{
	struct lw_list *node = lw_list_pop_front(&t->waiting);
	if (!node)
		return NULL;
	t->n_waiting--;
	return LW_CONTAINER_OF(node, struct asking, node);
}

/* An answer that comes after the device has stopped listening is of no use to it. */
static bool is_too_late(const struct ns_join_client *c, const struct asking *a)
{
	return rt_loop_mono_ns(c->o.loop) - a->began_ns > (int64_t)c->o.timeout_ms * LW_NS_PER_MS;
}

static void pump(struct ns_join_client *c, struct target *t)
{
	static const struct http_client_response waited = {.err = LW_ETIMEDOUT, .error = "too many joins at once"};
	while (t->n_waiting > 0 && t->open < (t->batch_max > 1 ? BATCHES_OPEN : CONNECTIONS)) {
		size_t most = t->batch_max > 1 ? t->batch_max : 1;
		most = t->n_waiting < most ? t->n_waiting : most;
		struct exchange *x = lw_xmalloc(sizeof(*x) + most * sizeof(x->v[0]));
		*x = (struct exchange){.c = c, .t = t, .url = t->s.url};
		while (x->n < most) {
			struct asking *a = take(t);
			if (!a)
				break;
			if (is_too_late(c, a))
				unavailable(a, &waited);
			else
				x->v[x->n++] = a;
		}
		x->is_batch = x->n > 1;
		if (x->n == 0) {
			free(x);
			continue;
		}
		t->open++;
		send(x);
	}
}

static void add(struct ns_join_client *c, struct ns_join_ask *ask)
{
	struct target *t = choose(c, ask->join_eui);
	if (!t) {
		ask->result = NS_JOIN_UNKNOWN_EUI;
		snprintf(ask->detail, sizeof(ask->detail), "no join server is configured for this JoinEUI");
		ask->done(ask);
		return;
	}
	struct asking *a = lw_xmalloc(sizeof(*a));
	*a = (struct asking){
		.ask = ask, .transaction_id = lw_rng_u32(c->o.rng), .began_ns = rt_loop_mono_ns(c->o.loop)};
	lw_list_push_back(&t->waiting, &a->node);
	t->n_waiting++;
}

static void ask_all(void *self, struct ns_join_ask **v, size_t n)
{
	struct ns_join_client *c = self;
	for (size_t i = 0; i < n; i++)
		add(c, v[i]);
	for (size_t i = 0; i < c->o.n_servers; i++)
		pump(c, &c->servers[i]);
}

struct ns_join_client *ns_join_client_new(const struct ns_join_client_opts *o)
{
	struct ns_join_client *c = lw_xcalloc(1, sizeof(*c));
	struct http_client_config config = {.max_connections_per_host = CONNECTIONS};
	c->o = *o;
	c->http = http_client_new(o->loop, &config);
	c->servers = lw_xcalloc(o->n_servers ? o->n_servers : 1, sizeof(*c->servers));
	for (size_t i = 0; i < o->n_servers; i++) {
		c->servers[i].s = o->servers[i];
		lw_list_init(&c->servers[i].waiting);
	}
	c->keks = o->n_keks ? lw_xmemdup(o->keks, o->n_keks * sizeof(*o->keks)) : NULL;
	return c;
}

void ns_join_client_free(struct ns_join_client *c)
{
	static const struct http_client_response stopped = {.err = LW_ECANCELLED, .error = "stopped"};
	struct asking *a;
	if (!c)
		return;
	c->closing = true;
	http_client_free(c->http);
	for (size_t i = 0; i < c->o.n_servers; i++)
		while ((a = take(&c->servers[i])))
			unavailable(a, &stopped);
	if (c->keks)
		lw_wipe(c->keks, c->o.n_keks * sizeof(*c->keks));
	free(c->keks);
	free(c->servers);
	free(c);
}

void ns_join_client_fill_port(struct ns_join_client *c, struct ns_join_port *out)
{
	*out = (struct ns_join_port){.self = c, .ask = ask_all};
}
