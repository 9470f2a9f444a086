#include "network-server/domain/mac_list.h"

#include "common/base/hex.h"
#include "network-server/domain/mac_up.h"

#define COMMANDS_MAX 32

static Longwave__Ns__V1__MacCommand *new_command(struct lw_arena *a, uint8_t cid, enum lw_dir dir, const char *name,
						 const char *text)
{
	Longwave__Ns__V1__MacCommand *m = LW_ARENA_NEW(a, Longwave__Ns__V1__MacCommand);
	if (m == NULL)
		return NULL;
	longwave__ns__v1__mac_command__init(m);
	m->cid = cid;
	m->uplink = dir == LW_UP;
	if (name != NULL)
		m->name = (char *)(uintptr_t)name;
	m->text = lw_arena_strdup(a, text);
	return m->text != NULL ? m : NULL;
}

static Longwave__Ns__V1__MacCommand *new_unknown(struct lw_arena *a, enum lw_dir dir, struct lw_span rest)
{
	size_t n = rest.n - 1;
	char *hex = lw_arena_alloc(a, 2 * n + 1);
	if (hex == NULL)
		return NULL;
	lw_hex_encode(rest.p + 1, n, hex);
	return new_command(a, rest.p[0], dir, NULL, hex);
}

Longwave__Ns__V1__MacCommand **ns_mac_list(struct lw_arena *a, enum lw_dir dir, struct lw_span commands, size_t *n)
{
	struct lw_mac_iter it;
	struct lw_mac_cmd cmd;
	int rc = 0;

	*n = 0;
	if (commands.n == 0)
		return NULL;
	Longwave__Ns__V1__MacCommand **v = LW_ARENA_ARRAY(a, Longwave__Ns__V1__MacCommand *, COMMANDS_MAX);
	if (v == NULL)
		return NULL;
	lw_mac_iter_init(&it, dir, commands);
	while (*n < COMMANDS_MAX && (rc = lw_mac_iter_next(&it, &cmd)) == 1) {
		char text[96];
		v[*n] = new_command(a, cmd.cid, dir, lw_mac_cmd_name(cmd.cid, dir),
				    ns_mac_text(&cmd, text, sizeof(text)));
		if (v[*n] == NULL)
			return v;
		++*n;
	}
	if (rc < 0 && *n < COMMANDS_MAX && (v[*n] = new_unknown(a, dir, it.rest)) != NULL)
		++*n;
	return v;
}
