#include "app-server/store/session.h"

#include <stdlib.h>

#include "app-server/as.h"
#include "common/base/hex.h"
#include "common/base/xmalloc.h"

const struct sql_stmt as_session_insert = {
	.name = "as_session_insert",
	.text = "INSERT INTO device_session (dev_eui, session_key_id, app_s_key, dev_addr, created_at)"
		" VALUES ($1, $2, $3, $4, $5)",
	.params = "ttttl",
};
const struct sql_stmt as_session_forget_others = {
	.name = "as_session_forget_others",
	.text = "DELETE FROM device_session WHERE dev_eui = $1 AND session_key_id <> $2",
	.params = "tt",
};
static const struct sql_stmt select_key = {
	.name = "as_session_key",
	.text = "SELECT app_s_key FROM device_session WHERE dev_eui = $1 AND session_key_id = $2",
	.params = "tt",
	.cols = "t",
};

struct wanted {
	as_session_key_fn *fn;
	void *arg;
};

const char *as_session_id_text(struct lw_span id, char out[65])
{
	out[0] = 0;
	return id.n <= 32 ? lw_hex_encode(id.p, id.n, out) : out;
}

static void on_key(void *arg, const struct sql_outcome *o, const struct sql_result *r)
{
	struct wanted w = *(struct wanted *)arg;
	struct lw_key key;
	free(arg);
	if (o->err < 0)
		w.fn(w.arg, o->err, NULL);
	else if (sql_rows(r) == 0 || lw_key_parse(&key, sql_text(r, 0, 0)) < 0)
		w.fn(w.arg, LW_ENOTFOUND, NULL);
	else
		w.fn(w.arg, 0, &key);
	lw_wipe(&key, sizeof(key));
}

void as_session_key(struct as *as, const char *dev_eui, struct lw_span session_key_id, as_session_key_fn *fn, void *arg)
{
	char text[65];
	struct wanted *w = lw_xcalloc(1, sizeof(*w));
	w->fn = fn;
	w->arg = arg;
	struct sql_query *q = sql_query_new(as->db, &select_key);
	sql_put_text(sql_query_params(q), dev_eui);
	sql_put_text(sql_query_params(q), as_session_id_text(session_key_id, text));
	sql_query_send(q, on_key, w);
}

/* ---- many ---- */

static const struct sql_stmt select_keys = {
	.name = "as_session_keys",
	.text = "SELECT b.n, s.app_s_key FROM {batch} JOIN device_session AS s ON s.dev_eui = b.dev_eui"
		" AND s.session_key_id = b.id",
	.batch = "dev_eui:t id:t",
	.cols = "lt",
};

struct many {
	struct as_session_ask *v;
	size_t n;
	as_session_keys_fn *done;
	void *arg;
};

static void on_keys(void *arg, const struct sql_outcome *o, const struct sql_result *r)
{
	struct many m = *(struct many *)arg;
	free(arg);
	for (size_t row = 0; o->err == 0 && row < sql_rows(r); row++) {
		size_t i = (size_t)sql_i64(r, row, 0);
		if (i < m.n)
			m.v[i].has_key = lw_key_parse(&m.v[i].key, sql_text(r, row, 1)) == 0;
	}
	m.done(m.arg, o->err);
}

void as_session_keys(struct as *as, struct as_session_ask *v, size_t n, as_session_keys_fn *done, void *arg)
{
	struct many *m = lw_xmalloc(sizeof(*m));
	struct sql_query *q = sql_query_new(as->db, &select_keys);
	*m = (struct many){v, n, done, arg};
	for (size_t i = 0; i < n; i++) {
		char text[65];
		v[i].has_key = false;
		sql_put_text(sql_query_params(q), v[i].dev_eui);
		sql_put_text(sql_query_params(q), as_session_id_text(v[i].session_key_id, text));
	}
	sql_query_send(q, on_keys, m);
}
