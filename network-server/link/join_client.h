/* Asks join servers over LoRaWAN Backend Interfaces (TS002): JoinReq out, JoinAns in. Never sees an AppSKey in the
 * clear: what a foreign join server sends of it is passed on as it came. */
#pragma once

#include "common/io/http_client.h"
#include "network-server/flow/ports.h"

struct rt_loop;
struct rt_log;
struct lw_rng;
struct ns_join_client;

struct ns_join_server {
	const char *join_eui_prefix; /* leading hex digits; "" matches all */
	const char *url;             /* or several, separated by commas: each is asked when the one before cannot be */
	const char *authorization;   /* "" : none */
	bool is_own;                 /* our application server: it keeps the AppSKey */
};

struct ns_kek {
	const char *label;
	struct lw_key key;
};

struct ns_join_client_opts {
	struct rt_loop *loop;
	struct rt_log *log;
	struct lw_rng *rng;
	uint32_t timeout_ms;
	const struct ns_join_server *servers; /* copied, texts borrowed; the longest matching prefix counts */
	size_t n_servers;
	const struct ns_kek *keks; /* copied */
	size_t n_keks;
};

struct ns_join_client *ns_join_client_new(const struct ns_join_client_opts *o);
void ns_join_client_free(struct ns_join_client *c);
void ns_join_client_fill_port(struct ns_join_client *c, struct ns_join_port *out);

/* The two halves that need no network, for tests. build appends the JSON of the request; read fills the answer's
 * members of `ask` from a JoinAns. */
int ns_join_build(const struct ns_join_ask *ask, uint32_t transaction_id, struct lw_buf *out);
void ns_join_read(struct ns_join_ask *ask, struct lw_span json, uint32_t transaction_id, const struct ns_kek *keks,
		  size_t n_keks, bool is_own);
