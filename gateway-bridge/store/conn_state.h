/* Which gateways this bridge has announced as ONLINE, on disk, so that after a crash it can take that back. A small log
 * file of lines "+ prefix eui" and "- prefix eui", rewritten when most of it is history. Blocking, a few bytes per
 * change of a connection. */
#pragma once

#include <stdint.h>

#include "common/base/err.h"
#include "common/base/map.h"

struct gb_conn_state {
	struct lw_bmap online; /* key: "prefix eui"; value: a number that differs for each announcement */
	uintptr_t last;
	char *path;
	int fd;
	size_t lines;
};

/* The file is made when it is not there; its folder must exist. Lines that cannot be read are skipped. */
int gb_conn_state_open(struct gb_conn_state *s, const char *path, struct lw_diag *diag);
void gb_conn_state_close(struct gb_conn_state *s);
/* Notes an announcement. Returns 0 or -errno (then it is noted in memory only). */
int gb_conn_state_add(struct gb_conn_state *s, const char *prefix, const char *eui);
/* What gb_conn_state_remove() wants to hear; 0: not announced. */
uintptr_t gb_conn_state_find(const struct gb_conn_state *s, const char *prefix, const char *eui);
/* Forgets the announcement with that number, not a newer one. */
int gb_conn_state_remove(struct gb_conn_state *s, const char *prefix, const char *eui, uintptr_t number);
/* Calls fn for each; fn must not change the set. */
void gb_conn_state_each(const struct gb_conn_state *s, void (*fn)(void *arg, const char *prefix, const char *eui),
			void *arg);
