/* AppSKeys by session. A session is named by its session_key_id in hex: the join server's, or one made by Activate. */
#pragma once

#include "common/base/bytes.h"
#include "common/base/ids.h"
#include "common/io/sql.h"

struct as;

/* One insert: (dev_eui t, session_key_id t, app_s_key t, dev_addr t, created_at l). */
extern const struct sql_stmt as_session_insert;
/* Forgets all sessions of a device but one: (dev_eui t, session_key_id t). */
extern const struct sql_stmt as_session_forget_others;

/* `key` is NULL unless err is 0; LW_ENOTFOUND: no such session here. */
typedef void as_session_key_fn(void *arg, int err, const struct lw_key *key);
void as_session_key(struct as *as, const char *dev_eui, struct lw_span session_key_id, as_session_key_fn *fn,
		    void *arg);

/* Many at once, with one statement. In memory of the caller until `done`. */
struct as_session_ask {
	const char *dev_eui;
	struct lw_span session_key_id;
	bool has_key; /* out */
	struct lw_key key;
};
typedef void as_session_keys_fn(void *arg, int err);
void as_session_keys(struct as *as, struct as_session_ask *v, size_t n, as_session_keys_fn *done, void *arg);

/* Hex of a session key id; out has 65 bytes. "" when it is too long. */
const char *as_session_id_text(struct lw_span id, char out[65]);
