/* DSNs, and the translation of a statement's one text for an engine. Pure: neither engine's library is used here. */
#include <ctype.h>
#include <stdlib.h>

#include "common/base/bug.h"
#include "common/base/xmalloc.h"
#include "common/io/sql_impl.h"

static const struct type_info {
	char letter;
	uint32_t oid;
	uint32_t array_oid;
	const char *name;
} TYPES[] = {
	{'b', 16, 1000, "boolean"}, {'i', 23, 1007, "integer"},
	{'l', 20, 1016, "bigint"},  {'d', 701, 1022, "double precision"},
	{'t', 25, 1009, "text"},    {'y', 17, 1001, "bytea"},
	{'u', 2950, 2951, "uuid"},  {'s', 1184, 1185, "timestamptz"},
	{'j', 3802, 3807, "jsonb"},
};

static const struct type_info *type_find(char letter)
{
	for (size_t i = 0; i < sizeof(TYPES) / sizeof(TYPES[0]); i++)
		if (TYPES[i].letter == letter)
			return &TYPES[i];
	return NULL;
}

uint32_t sql_type_oid(char type)
{
	const struct type_info *t = type_find(type);
	return t ? t->oid : 0;
}

uint32_t sql_type_array_oid(char type)
{
	const struct type_info *t = type_find(type);
	return t ? t->array_oid : 0;
}

/* ---- DSN -------------------------------------------------------------------------------------------------------- */

static bool plain_identifier(const char *s)
{
	if (!((*s >= 'a' && *s <= 'z') || *s == '_'))
		return false;
	for (; *s; s++)
		if (!((*s >= 'a' && *s <= 'z') || (*s >= '0' && *s <= '9') || *s == '_'))
			return false;
	return true;
}

/* Takes "key=value" out of the query of an URL. Returns the value in heap memory, or NULL when the key is not there. */
static char *take_query(char *url, const char *key)
{
	char *q = strchr(url, '?');
	size_t n = strlen(key);
	for (char *p = q; p;) {
		char *item = p + 1;
		size_t len = strcspn(item, "&");
		char *next = item[len] ? item + len : NULL;
		if (strncmp(item, key, n) == 0 && item[n] == '=') {
			char *value = lw_xstrndup(item + n + 1, len - n - 1);
			if (next)
				memmove(item, next + 1, strlen(next + 1) + 1);
			else
				*p = '\0';
			return value;
		}
		p = next;
	}
	return NULL;
}

static int parse_sqlite(struct sql_dsn *d, char *url, struct lw_diag *diag)
{
	char *sync = take_query(url, "sync");
	d->sync_full = !sync || strcmp(sync, "full") == 0;
	bool bad_sync = sync && !d->sync_full && strcmp(sync, "normal") != 0;
	free(sync);
	const char *path = url + strlen("sqlite://");
	if (bad_sync || strchr(path, '?')) {
		lw_diag_set(diag, "database DSN: sqlite knows only ?sync=normal or ?sync=full");
		return LW_EINVAL;
	}
	if (!*path || strcmp(path, "/") == 0) {
		lw_diag_set(diag, "database DSN: no file name after sqlite://");
		return LW_EINVAL;
	}
	d->sqlite = true;
	d->path = lw_xstrdup(path);
	return 0;
}

static int parse_pg(struct sql_dsn *d, char *url, struct lw_diag *diag)
{
	char *schema = take_query(url, "schema");
	if (schema) {
		bool ok = plain_identifier(schema) && strlen(schema) < sizeof(d->schema);
		if (ok)
			memcpy(d->schema, schema, strlen(schema) + 1);
		free(schema);
		if (!ok) {
			lw_diag_set(diag, "database DSN: schema must be of a-z, 0-9 and _, at most 63 characters");
			return LW_EINVAL;
		}
	}
	d->uri = lw_xstrdup(url);
	return 0;
}

int sql_dsn_parse(struct sql_dsn *d, const char *text, struct lw_diag *diag)
{
	memset(d, 0, sizeof(*d));
	if (!text)
		text = "";
	char *url = lw_xstrdup(text);
	int rc = LW_EINVAL;
	if (strncmp(url, "sqlite://", 9) == 0)
		rc = parse_sqlite(d, url, diag);
	else if (strncmp(url, "postgres://", 11) == 0 || strncmp(url, "postgresql://", 13) == 0)
		rc = parse_pg(d, url, diag);
	else
		lw_diag_set(diag, "database DSN: must begin with sqlite:// or postgres://");
	free(url);
	return rc;
}

void sql_dsn_deinit(struct sql_dsn *d)
{
	free(d->path);
	if (d->uri)
		lw_wipe(d->uri, strlen(d->uri));
	free(d->uri);
	memset(d, 0, sizeof(*d));
}

/* ---- statements ------------------------------------------------------------------------------------------------- */

struct batch_col {
	const char *name;
	size_t n;
};

struct compiler {
	const struct sql_plan *plan;
	bool sqlite;
	struct batch_col cols[SQL_MAX_PARAMS];
	struct lw_buf out;
};

/* "name:type name:type" */
static void parse_batch(struct sql_plan *plan, struct batch_col *cols, const char *s)
{
	while (*s) {
		size_t n = strcspn(s, ":");
		BUG_ON(n == 0 || !s[n] || !type_find(s[n + 1]));
		BUG_ON(plan->n_scalars + plan->n_batch >= SQL_MAX_PARAMS);
		cols[plan->n_batch].name = s;
		cols[plan->n_batch].n = n;
		plan->types[plan->n_scalars + plan->n_batch++] = s[n + 1];
		s += n + 2;
		BUG_ON(*s && *s != ' ');
		s += strspn(s, " ");
	}
	BUG_ON(plan->n_batch == 0);
}

static void put_batch_pg(struct compiler *c)
{
	const struct sql_plan *p = c->plan;
	lw_buf_append_str(&c->out, "(SELECT ");
	for (size_t i = 0; i < p->n_batch; i++)
		lw_buf_printf(&c->out, "u.%.*s, ", (int)c->cols[i].n, c->cols[i].name);
	lw_buf_append_str(&c->out, "u.o - 1 AS n FROM unnest(");
	for (size_t i = 0; i < p->n_batch; i++)
		lw_buf_printf(&c->out, "%s$%zu::%s[]", i ? ", " : "", p->n_scalars + i + 1,
			      type_find(p->types[p->n_scalars + i])->name);
	lw_buf_append_str(&c->out, ") WITH ORDINALITY AS u(");
	for (size_t i = 0; i < p->n_batch; i++)
		lw_buf_printf(&c->out, "%.*s, ", (int)c->cols[i].n, c->cols[i].name);
	lw_buf_append_str(&c->out, "o)) AS b");
}

static void put_batch_sqlite(struct compiler *c)
{
	const struct sql_plan *p = c->plan;
	lw_buf_append_str(&c->out, "(SELECT ");
	for (size_t i = 0; i < p->n_batch; i++)
		lw_buf_printf(&c->out, "?%zu AS %.*s, ", p->n_scalars + i + 1, (int)c->cols[i].n, c->cols[i].name);
	lw_buf_printf(&c->out, "?%zu AS n) AS b", p->n_scalars + p->n_batch + 1);
}

/* {b.name} */
static void put_column(struct compiler *c, const char *name, size_t n)
{
	const struct sql_plan *p = c->plan;
	size_t i = 0;
	while (i < p->n_batch && !(c->cols[i].n == n && memcmp(c->cols[i].name, name, n) == 0))
		i++;
	BUG_ON(i == p->n_batch && !(n == 1 && *name == 'n'));
	if (c->sqlite)
		lw_buf_printf(&c->out, "?%zu", p->n_scalars + i + 1);
	else
		lw_buf_printf(&c->out, "b.%.*s", (int)n, name);
}

static const char *put_token(struct compiler *c, const char *s)
{
	size_t n = strcspn(s, "}");
	BUG_ON(!s[n] || !c->plan->batch);
	if (strncmp(s, "{batch}", n + 1) == 0) {
		if (c->sqlite)
			put_batch_sqlite(c);
		else
			put_batch_pg(c);
	} else {
		BUG_ON(n < 4 || s[1] != 'b' || s[2] != '.');
		put_column(c, s + 3, n - 3);
	}
	return s + n + 1;
}

static void translate(struct compiler *c, const char *s)
{
	while (*s) {
		if (*s == '\'') {
			const char *end = strchr(s + 1, '\'');
			BUG_ON(!end);
			lw_buf_append(&c->out, s, (size_t)(end + 1 - s));
			s = end + 1;
		} else if (*s == '{') {
			s = put_token(c, s);
		} else if (*s == '$' && isdigit((unsigned char)s[1])) {
			char *end;
			unsigned long n = strtoul(s + 1, &end, 10);
			BUG_ON(n == 0 || n > c->plan->n_scalars);
			lw_buf_printf(&c->out, "%c%lu", c->sqlite ? '?' : '$', n);
			s = end;
		} else {
			lw_buf_append_u8(&c->out, (uint8_t)*s++);
		}
	}
}

/* ---- SQLite, row by row ------------------------------------------------------------------------------------------
 * A batch runs once for each row, so the table {batch} need not be there: its columns are parameters. That spares the
 * temporary table that SQLite builds for UPDATE … FROM, and another one for RETURNING. A statement that fails halfway
 * needs no undoing of its own (OR FAIL): the transaction around it is undone. */

#define FROM_BATCH " FROM {batch}"
#define RETURNING_N " RETURNING {b.n}"

static bool is_word(char c)
{
	return isalnum((unsigned char)c) || c == '_' || c == '.' || c == '"';
}

/* False: the batch is not the only table of the statement's own FROM. In a select within it a column's bare name could
 * come to mean the table that is changed. */
static bool translate_row(struct compiler *c, const char *s, const char *end)
{
	int depth = 0;
	for (const char *start = s; s < end;) {
		depth += (*s == '(') - (*s == ')');
		if (*s == '\'') {
			const char *close = strchr(s + 1, '\'');
			BUG_ON(!close);
			lw_buf_append(&c->out, s, (size_t)(close + 1 - s));
			s = close + 1;
		} else if (strncmp(s, FROM_BATCH, strlen(FROM_BATCH)) == 0) {
			s += strlen(FROM_BATCH);
			if (depth != 0 || !(s == end || strncmp(s, " WHERE ", 7) == 0))
				return false;
		} else if (strncmp(s, "{b.", 3) == 0) {
			s = put_token(c, s);
		} else if (*s == '{') {
			return false;
		} else if (s[0] == 'b' && s[1] == '.' && (s == start || !is_word(s[-1]))) {
			size_t n = strspn(s + 2, "abcdefghijklmnopqrstuvwxyz_0123456789");
			put_column(c, s + 2, n);
			s += 2 + n;
		} else if (*s == '$' && isdigit((unsigned char)s[1])) {
			lw_buf_append_u8(&c->out, '?');
			s++;
		} else {
			lw_buf_append_u8(&c->out, (uint8_t)*s++);
		}
	}
	return true;
}

static void make_row_text(struct sql_plan *p, struct compiler *c)
{
	const char *s = p->stmt->text;
	size_t n = strlen(s), tail = strlen(RETURNING_N);
	bool insert = strncmp(s, "INSERT INTO ", 12) == 0, update = strncmp(s, "UPDATE ", 7) == 0;
	if (!p->batch || !(insert || update))
		return;
	p->row_counts = n > tail && strcmp(s + n - tail, RETURNING_N) == 0 && strcmp(p->cols, "l") == 0;
	if (p->row_counts)
		n -= tail;
	lw_buf_init(&c->out, 1 << 20);
	lw_buf_append_str(&c->out, insert ? "INSERT OR FAIL INTO " : "UPDATE OR FAIL ");
	bool ok = translate_row(c, s + (insert ? 12 : 7), s + n);
	BUG_ON(c->out.err);
	if (ok)
		p->row_text = lw_buf_take(&c->out, NULL);
	else
		lw_buf_deinit(&c->out);
}

struct sql_plan *sql_plan_new(const struct sql_stmt *stmt, bool sqlite, size_t index)
{
	struct sql_plan *p = lw_xcalloc(1, sizeof(*p));
	struct compiler c = {.plan = p, .sqlite = sqlite};
	BUG_ON(!stmt->name || !stmt->text || strlen(stmt->name) > 60);
	p->stmt = stmt;
	p->index = index;
	for (const char *s = stmt->params ? stmt->params : ""; *s; s++) {
		BUG_ON(!type_find(*s) || p->n_scalars >= SQL_MAX_PARAMS);
		p->types[p->n_scalars++] = *s;
	}
	p->batch = stmt->batch != NULL;
	if (p->batch)
		parse_batch(p, c.cols, stmt->batch);
	p->cols = stmt->cols ? stmt->cols : "";
	p->n_cols = strlen(p->cols);
	BUG_ON(p->n_cols > SQL_MAX_COLS);
	for (size_t i = 0; i < p->n_cols; i++)
		BUG_ON(!type_find(p->cols[i]));
	lw_buf_init(&c.out, 1 << 20);
	translate(&c, stmt->text);
	BUG_ON(c.out.err || c.out.n == 0);
	p->text = lw_buf_take(&c.out, NULL);
	if (sqlite)
		make_row_text(p, &c);
	return p;
}

void sql_plan_free(struct sql_plan *p)
{
	if (!p)
		return;
	free(p->text);
	free(p->row_text);
	free(p);
}
