#include "gateway-bridge/store/conn_state.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/base/ids.h"
#include "common/base/xmalloc.h"

#define MAX_FILE (64u * 1024 * 1024)
#define KEY_MAX 256
#define HISTORY 1000

static struct lw_span make_key(char out[KEY_MAX], const char *prefix, const char *eui)
{
	int n = snprintf(out, KEY_MAX, "%s %s", prefix, eui);
	return lw_span(out, n < KEY_MAX ? (size_t)n : KEY_MAX - 1);
}

static void note(struct gb_conn_state *s, struct lw_span key)
{
	lw_bmap_put(&s->online, key, (void *)++s->last);
}

/* One line without its end. */
static void load_line(struct gb_conn_state *s, const char *line, size_t n)
{
	s->lines++;
	if (n < 2 + LW_EUI_TEXT || n - 2 >= KEY_MAX || line[1] != ' ' || line[n - LW_EUI_TEXT] != ' ')
		return;
	struct lw_gateway_id id;
	if (lw_gateway_id_parse_n(&id, line + n - LW_EUI_TEXT + 1, LW_EUI_TEXT - 1) < 0)
		return;
	struct lw_span key = lw_span(line + 2, n - 2);
	if (line[0] == '+')
		note(s, key);
	else if (line[0] == '-')
		lw_bmap_remove(&s->online, key);
}

static int load(struct gb_conn_state *s)
{
	off_t size = lseek(s->fd, 0, SEEK_END);
	if (size < 0)
		return -errno;
	if (size > (off_t)MAX_FILE)
		return LW_EBIG;
	char *text = lw_xmalloc((size_t)size + 1);
	ssize_t n = pread(s->fd, text, (size_t)size, 0);
	int err = n < 0 ? -errno : 0;
	/* A last line without an end was being written when the process died: no announcement was made yet. */
	for (char *p = text, *end; n > 0 && (end = memchr(p, '\n', (size_t)(text + n - p))); p = end + 1)
		load_line(s, p, (size_t)(end - p));
	free(text);
	return err;
}

static int append(struct gb_conn_state *s, char sign, struct lw_span key)
{
	char line[KEY_MAX + 4];
	int n = snprintf(line, sizeof(line), "%c %.*s\n", sign, (int)key.n, (const char *)key.p);
	s->lines++;
	if (write(s->fd, line, (size_t)n) != n)
		return errno ? -errno : LW_EIO;
	return 0;
}

/* Writes the set to a new file that takes the place of the old one. */
static int rewrite(struct gb_conn_state *s)
{
	size_t it = 0;
	struct lw_span key;
	void *value;
	char *path = lw_xmalloc(strlen(s->path) + 5);
	sprintf(path, "%s.new", s->path);
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0640), err = fd < 0 ? -errno : 0;
	FILE *f = fd < 0 ? NULL : fdopen(dup(fd), "w");
	if (f) {
		while (lw_bmap_next(&s->online, &it, &key, &value))
			fprintf(f, "+ %.*s\n", (int)key.n, (const char *)key.p);
		if (fclose(f) != 0 || rename(path, s->path) < 0)
			err = -errno;
	}
	if (err == 0 && f) {
		close(s->fd);
		s->fd = fd;
		s->lines = lw_bmap_count(&s->online);
	} else if (fd >= 0) {
		close(fd);
	}
	free(path);
	return err;
}

static void compact(struct gb_conn_state *s)
{
	if (s->lines > 2 * lw_bmap_count(&s->online) + HISTORY && rewrite(s) < 0)
		s->lines = 0; /* the old file goes on growing; tried again after as many changes */
}

int gb_conn_state_open(struct gb_conn_state *s, const char *path, struct lw_diag *diag)
{
	*s = (struct gb_conn_state){.fd = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0640)};
	int err = s->fd < 0 ? -errno : 0;
	lw_bmap_init(&s->online);
	s->path = lw_xstrdup(path);
	if (err == 0)
		err = load(s);
	if (err < 0) {
		lw_diag_set(diag, "%s: %s", path, lw_err_text(err));
		gb_conn_state_close(s);
		return err;
	}
	compact(s);
	return 0;
}

void gb_conn_state_close(struct gb_conn_state *s)
{
	if (s->fd >= 0 && s->path)
		close(s->fd);
	lw_bmap_deinit(&s->online);
	free(s->path);
	*s = (struct gb_conn_state){.fd = -1};
}

int gb_conn_state_add(struct gb_conn_state *s, const char *prefix, const char *eui)
{
	char room[KEY_MAX];
	struct lw_span key = make_key(room, prefix, eui);
	bool known = lw_bmap_find(&s->online, key) != NULL;
	note(s, key);
	if (known)
		return 0;
	int err = append(s, '+', key);
	compact(s);
	return err;
}

uintptr_t gb_conn_state_find(const struct gb_conn_state *s, const char *prefix, const char *eui)
{
	char room[KEY_MAX];
	return (uintptr_t)lw_bmap_find(&s->online, make_key(room, prefix, eui));
}

int gb_conn_state_remove(struct gb_conn_state *s, const char *prefix, const char *eui, uintptr_t number)
{
	char room[KEY_MAX];
	struct lw_span key = make_key(room, prefix, eui);
	if (number == 0 || (uintptr_t)lw_bmap_find(&s->online, key) != number)
		return 0;
	lw_bmap_remove(&s->online, key);
	int err = append(s, '-', key);
	compact(s);
	return err;
}

void gb_conn_state_each(const struct gb_conn_state *s, void (*fn)(void *arg, const char *prefix, const char *eui),
			void *arg)
{
	size_t it = 0;
	struct lw_span key;
	void *value;
	while (lw_bmap_next(&s->online, &it, &key, &value)) {
		char prefix[KEY_MAX];
		size_t n = key.n - LW_EUI_TEXT;
		memcpy(prefix, key.p, n);
		prefix[n] = '\0';
		char eui[LW_EUI_TEXT];
		memcpy(eui, key.p + n + 1, LW_EUI_TEXT - 1);
		eui[LW_EUI_TEXT - 1] = '\0';
		fn(arg, prefix, eui);
	}
}
