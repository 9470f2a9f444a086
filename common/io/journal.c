/* Files of the journal: <dir>/<first position, 20 digits>.jnl, each a sequence of records
 *     u32 length of payload | u32 CRC-32 of what follows | u8 kind | u64 position | payload
 * (little endian). Kind 1 is data; kind 2 marks as done: its payload is a list of positions (u64). Positions rise over
 * all files. Only the newest file is written, and every opening begins a new one, so a torn record is always at the end
 * of a file. Files are deleted from the oldest on, because a done mark may stand in any file after its record. */
#include "common/io/journal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/bug.h"
#include "common/base/map.h"
#include "common/base/xmalloc.h"

#define HEADER 17
#define KIND_DATA 1
#define KIND_DONE 2
/* Done marks in one record. */
#define MAX_MARKS 8192
#define NAME_MAX_LEN 40
/* Appended and not written. */
#define OUT_MAX ((size_t)256 << 20)
/* Kept for the next commits when it is empty. */
#define KEEP_BYTES ((size_t)1 << 20)
#define NOT_WRITTEN ((uintptr_t)1)

struct segment {
	uint64_t first;
	uint64_t bytes;
	uint64_t open; /* records not done */
};

struct open_record {
	uint64_t position;
	uint64_t offset;
	uint64_t segment_first;
	uint32_t n;
};

struct journal {
	char *dir;
	int dir_fd;
	int lock_fd;
	int fd; /* newest segment; -1: none yet */
	uint64_t segment_bytes, max_bytes;
	bool sync;

	struct segment *seg; /* oldest first */
	size_t n_seg, cap_seg;
	/* position → name of its segment + 1, or NOT_WRITTEN; numbers in the clothes of pointers */
	struct lw_map open;
	uint64_t disk_bytes;
	uint64_t next;          /* position of the next record */
	struct lw_buf out;      /* records appended since the last commit began */
	size_t out_n, out_void; /* how many, and how many of them are done */
	size_t out_at;          /* those before it are done */
	struct lw_buf flight;   /* of the commit under way, or of one that failed */
	uint64_t flight_at;     /* where in the newest segment */
	bool under_way, dir_dirty;
	uint64_t appended, covered, durable; /* last record: appended, in flight, written */
	uint64_t *marks;
	size_t n_marks, cap_marks;

	struct open_record *found; /* between opening and replay */
	size_t n_found;
	struct journal_stats st;
	uint32_t crc_table[256];
};

/* --- CRC-32 (IEEE 802.3) ---------------------------------------------------------------------------------------- */

static void crc_init(uint32_t table[256])
{
	for (uint32_t i = 0; i < 256; i++) {
		uint32_t c = i;
		for (int k = 0; k < 8; k++)
			c = (c & 1) ? 0xedb88320u ^ (c >> 1) : c >> 1;
		table[i] = c;
	}
}

static uint32_t crc(const uint32_t table[256], uint32_t c, const uint8_t *p, size_t n)
{
	c = ~c;
	while (n--)
		c = table[(c ^ *p++) & 0xff] ^ (c >> 8);
	return ~c;
}

/* --- segments --------------------------------------------------------------------------------------------------- */

static void segment_name(uint64_t first, char out[NAME_MAX_LEN])
{
	snprintf(out, NAME_MAX_LEN, "%020llu.jnl", (unsigned long long)first);
}

static struct segment *segment_add(struct journal *j, uint64_t first)
{
	if (j->n_seg == j->cap_seg) {
		j->cap_seg = j->cap_seg ? j->cap_seg * 2 : 8;
		j->seg = lw_xreallocarray(j->seg, j->cap_seg, sizeof(*j->seg));
	}
	struct segment *s = &j->seg[j->n_seg++];
	*s = (struct segment){.first = first};
	return s;
}

static struct segment *segment_find(struct journal *j, uint64_t first)
{
	size_t lo = 0, hi = j->n_seg;
	while (lo < hi) {
		size_t mid = (lo + hi) / 2;
		if (j->seg[mid].first < first)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < j->n_seg && j->seg[lo].first == first ? &j->seg[lo] : NULL;
}

static void open_put(struct journal *j, uint64_t position, uint64_t segment_first)
{
	lw_map_put(&j->open, position, (void *)(uintptr_t)(segment_first + 1));
}

/* True when it was open. */
static bool open_remove(struct journal *j, uint64_t position)
{
	uintptr_t v = (uintptr_t)lw_map_remove(&j->open, position);
	if (!v)
		return false;
	struct segment *s = segment_find(j, (uint64_t)v - 1);
	BUG_ON(!s || s->open == 0);
	s->open--;
	return true;
}

static void unlink_segment(struct journal *j, const struct segment *s)
{
	char name[NAME_MAX_LEN];
	segment_name(s->first, name);
	unlinkat(j->dir_fd, name, 0);
}

/* The oldest files without an open record; the newest stays while it is written. */
static void drop_finished(struct journal *j)
{
	size_t keep_last = j->fd >= 0 ? 1 : 0, n = 0;
	while (n + keep_last < j->n_seg && j->seg[n].open == 0) {
		j->disk_bytes -= j->seg[n].bytes;
		unlink_segment(j, &j->seg[n++]);
	}
	if (n == 0)
		return;
	j->n_seg -= n;
	memmove(j->seg, j->seg + n, j->n_seg * sizeof(*j->seg));
}

/* --- reading at start ------------------------------------------------------------------------------------------- */

static int read_whole(int fd, uint8_t **out, size_t *n)
{
	struct stat st;
	if (fstat(fd, &st) != 0)
		return -errno;
	size_t size = (size_t)st.st_size;
	uint8_t *p = lw_xmalloc(size + 1);
	size_t at = 0;
	while (at < size) {
		ssize_t r = pread(fd, p + at, size - at, (off_t)at);
		if (r < 0 && errno == EINTR)
			continue;
		if (r <= 0)
			break;
		at += (size_t)r;
	}
	*out = p;
	*n = at;
	return 0;
}

static void found_add(struct journal *j, size_t *cap, struct open_record r)
{
	if (j->n_found == *cap) {
		*cap = *cap ? *cap * 2 : 256;
		j->found = lw_xreallocarray(j->found, *cap, sizeof(*j->found));
	}
	j->found[j->n_found++] = r;
}

/* Takes the records of one file; returns the length up to the first that is not whole. */
static size_t scan(struct journal *j, struct segment *s, const uint8_t *p, size_t n, size_t *cap)
{
	size_t at = 0;
	while (n - at >= HEADER) {
		uint32_t len = lw_get_le32(p + at);
		if (len > JOURNAL_MAX_RECORD || len > n - at - HEADER)
			break;
		if (crc(j->crc_table, 0, p + at + 8, len + 9) != lw_get_le32(p + at + 4))
			break;
		uint8_t kind = p[at + 8];
		uint64_t position = lw_get_le64(p + at + 9);
		const uint8_t *body = p + at + HEADER;
		if (kind == KIND_DATA) {
			open_put(j, position, s->first);
			s->open++;
			found_add(j, cap, (struct open_record){position, at + HEADER, s->first, len});
		} else if (kind == KIND_DONE) {
			for (size_t i = 0; i + 8 <= len; i += 8)
				open_remove(j, lw_get_le64(body + i));
		}
		if (position >= j->next)
			j->next = position + 1;
		at += HEADER + len;
	}
	return at;
}

static int load_segment(struct journal *j, uint64_t first, size_t *cap)
{
	char name[NAME_MAX_LEN];
	segment_name(first, name);
	int fd = openat(j->dir_fd, name, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	uint8_t *p = NULL;
	size_t n = 0;
	int rc = read_whole(fd, &p, &n);
	if (rc == 0) {
		struct segment *s = segment_add(j, first);
		if (first >= j->next)
			j->next = first + 1;
		size_t good = scan(j, s, p, n, cap);
		s->bytes = good;
		j->disk_bytes += good;
		if (good < n) {
			j->st.cut_bytes += n - good;
			j->st.cut_files++;
			if (ftruncate(fd, (off_t)good) != 0)
				rc = -errno;
		}
		free(p);
	}
	close(fd);
	return rc;
}

static int by_u64(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
	return x < y ? -1 : x > y;
}

static int load_all(struct journal *j)
{
	int fd = dup(j->dir_fd);
	DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
	if (!d)
		return -errno;
	uint64_t *firsts = NULL;
	size_t n = 0;
	for (struct dirent *e; (e = readdir(d));) {
		char *end;
		unsigned long long first = strtoull(e->d_name, &end, 10);
		if (end != e->d_name + 20 || strcmp(end, ".jnl") != 0)
			continue;
		firsts = lw_xreallocarray(firsts, n + 1, sizeof(*firsts));
		firsts[n++] = first;
	}
	closedir(d);
	if (n)
		qsort(firsts, n, sizeof(*firsts), by_u64);
	int rc = 0;
	size_t cap = 0;
	for (size_t i = 0; i < n && rc == 0; i++)
		rc = load_segment(j, firsts[i], &cap);
	free(firsts);
	return rc;
}

int journal_open(struct journal **out, const struct journal_opts *opts, struct lw_diag *diag)
{
	*out = NULL;
	struct journal *j = lw_xcalloc(1, sizeof(*j));
	j->dir = lw_xstrdup(opts->dir);
	j->dir_fd = j->lock_fd = j->fd = -1;
	j->segment_bytes = opts->segment_bytes ? opts->segment_bytes : 16u << 20;
	j->max_bytes = opts->max_bytes ? opts->max_bytes : UINT64_C(4) << 30;
	j->sync = opts->fdatasync;
	j->next = 1;
	lw_map_init(&j->open);
	lw_buf_init(&j->out, SIZE_MAX / 4);
	lw_buf_init(&j->flight, SIZE_MAX / 4);
	crc_init(j->crc_table);

	int rc = 0;
	if (mkdir(opts->dir, 0750) != 0 && errno != EEXIST)
		rc = -errno;
	if (rc == 0 && (j->dir_fd = open(opts->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
		rc = -errno;
	if (rc == 0 && (j->lock_fd = openat(j->dir_fd, "lock", O_RDWR | O_CREAT | O_CLOEXEC, 0640)) < 0)
		rc = -errno;
	if (rc == 0 && flock(j->lock_fd, LOCK_EX | LOCK_NB) != 0)
		rc = errno == EWOULDBLOCK ? LW_EEXISTS : -errno;
	if (rc == 0)
		rc = load_all(j);
	if (rc < 0) {
		lw_diag_set(diag, "journal %s: %s", opts->dir,
			    rc == LW_EEXISTS ? "in use by another process" : lw_err_text(rc));
		journal_close(j);
		return rc;
	}
	drop_finished(j);
	*out = j;
	return 0;
}

void journal_close(struct journal *j)
{
	if (!j)
		return;
	BUG_ON(j->under_way);
	if (j->lock_fd >= 0)
		journal_commit(j);
	if (j->fd >= 0)
		close(j->fd);
	if (j->lock_fd >= 0)
		close(j->lock_fd);
	if (j->dir_fd >= 0)
		close(j->dir_fd);
	lw_map_deinit(&j->open);
	lw_buf_deinit(&j->out);
	lw_buf_deinit(&j->flight);
	free(j->marks);
	free(j->found);
	free(j->seg);
	free(j->dir);
	free(j);
}

int journal_replay(struct journal *j, journal_replay_fn *fn, void *arg)
{
	struct open_record *v = j->found;
	size_t n = j->n_found;
	j->found = NULL;
	j->n_found = 0;
	int fd = -1, rc = 0;
	uint64_t fd_first = 0;
	for (size_t i = 0; i < n && rc == 0; i++) {
		if (!lw_map_find(&j->open, v[i].position))
			continue;
		if (fd < 0 || fd_first != v[i].segment_first) {
			char name[NAME_MAX_LEN];
			segment_name(v[i].segment_first, name);
			if (fd >= 0)
				close(fd);
			fd = openat(j->dir_fd, name, O_RDONLY | O_CLOEXEC);
			fd_first = v[i].segment_first;
			if (fd < 0) {
				rc = -errno;
				break;
			}
		}
		uint8_t *p = lw_xmalloc(v[i].n + 1u);
		ssize_t r = pread(fd, p, v[i].n, (off_t)v[i].offset);
		if (r < 0)
			rc = -errno;
		else if ((size_t)r != v[i].n)
			rc = LW_EIO;
		else
			rc = fn(arg, v[i].position, lw_span(p, v[i].n));
		free(p);
		if (rc > 0)
			rc = 0;
	}
	if (fd >= 0)
		close(fd);
	free(v);
	return rc;
}

/* --- writing ---------------------------------------------------------------------------------------------------- */

static void put_record(struct journal *j, uint8_t kind, uint64_t position, const void *p, size_t n)
{
	uint8_t h[HEADER];
	lw_put_le32(h, (uint32_t)n);
	h[8] = kind;
	lw_put_le64(h + 9, position);
	uint32_t c = crc(j->crc_table, 0, h + 8, 9);
	lw_put_le32(h + 4, crc(j->crc_table, c, p, n));
	lw_buf_append(&j->out, h, HEADER);
	lw_buf_append(&j->out, p, n);
}

int journal_append(struct journal *j, struct lw_span record, uint64_t *position)
{
	if (record.n > JOURNAL_MAX_RECORD)
		return LW_EBIG;
	size_t waiting = j->flight.n + j->out.n + record.n + HEADER;
	if (j->disk_bytes + waiting > j->max_bytes || waiting > OUT_MAX)
		return LW_EFULL;
	*position = j->appended = j->next++;
	put_record(j, KIND_DATA, *position, record.p, record.n);
	j->out_n++;
	lw_map_put(&j->open, *position, (void *)NOT_WRITTEN);
	return 0;
}

static void empty_out(struct journal *j)
{
	lw_buf_reset(&j->out);
	if (j->out.cap > KEEP_BYTES)
		lw_buf_deinit(&j->out);
	j->out_n = j->out_void = j->out_at = 0;
}

static uint64_t position_at(const uint8_t *record)
{
	return lw_get_le64(record + 9);
}

static size_t size_at(const uint8_t *record)
{
	return HEADER + lw_get_le32(record);
}

/* Records that were done before any commit took them along. */
static void leave_out_void(struct journal *j)
{
	size_t to = 0;
	if (j->out_void == 0)
		return;
	for (size_t at = 0, n; at < j->out.n; at += n) {
		uint8_t *p = j->out.p + at;
		n = size_at(p);
		if (!lw_map_find(&j->open, position_at(p)))
			continue;
		memmove(j->out.p + to, p, n);
		to += n;
	}
	j->out.n = to;
	j->out_n -= j->out_void;
	j->out_void = j->out_at = 0;
}

void journal_done(struct journal *j, uint64_t position)
{
	uintptr_t v = (uintptr_t)lw_map_find(&j->open, position);
	if (!v)
		return;
	if (v == NOT_WRITTEN && position > j->covered) {
		lw_map_remove(&j->open, position);
		if (++j->out_void == j->out_n)
			empty_out(j);
		return;
	}
	if (j->n_marks == j->cap_marks) {
		j->cap_marks = j->cap_marks ? j->cap_marks * 2 : 256;
		j->marks = lw_xreallocarray(j->marks, j->cap_marks, sizeof(*j->marks));
	}
	j->marks[j->n_marks++] = position;
	if (v == NOT_WRITTEN) /* in no segment's count */
		lw_map_remove(&j->open, position);
	else
		open_remove(j, position);
}

bool journal_has_marks(const struct journal *j)
{
	return j->n_marks > 0;
}

static int start_segment(struct journal *j)
{
	char name[NAME_MAX_LEN];
	/* Named by a position that no other file can have: the next one, moved on when only marks are written. */
	uint64_t first = j->next++;
	segment_name(first, name);
	int fd = openat(j->dir_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0640);
	if (fd < 0)
		return -errno;
	if (j->fd >= 0)
		close(j->fd);
	j->fd = fd;
	j->dir_dirty = true;
	segment_add(j, first);
	return 0;
}

static void put_marks(struct journal *j)
{
	uint8_t *p = lw_xmalloc(MAX_MARKS * 8);
	for (size_t i = 0; i < j->n_marks; i += MAX_MARKS) {
		size_t n = j->n_marks - i < MAX_MARKS ? j->n_marks - i : MAX_MARKS;
		for (size_t k = 0; k < n; k++)
			lw_put_le64(p + k * 8, j->marks[i + k]);
		put_record(j, KIND_DONE, j->next++, p, n * 8);
	}
	free(p);
	j->n_marks = 0;
}

static int write_all(const struct journal *j)
{
	for (size_t at = 0; at < j->flight.n;) {
		ssize_t w = pwrite(j->fd, j->flight.p + at, j->flight.n - at, (off_t)(j->flight_at + at));
		if (w < 0 && errno == EINTR)
			continue;
		if (w <= 0)
			return w < 0 ? -errno : LW_EIO;
		at += (size_t)w;
	}
	return 0;
}

/* Touches only what is in flight: the loop's thread goes on appending meanwhile. */
int journal_commit_write(struct journal *j)
{
	BUG_ON(!j->under_way);
	int rc = write_all(j);
	if (rc == 0 && j->sync && fdatasync(j->fd) != 0)
		rc = -errno;
	if (rc == 0 && j->sync && j->dir_dirty && fsync(j->dir_fd) != 0)
		rc = -errno;
	if (rc == 0)
		j->dir_dirty = false;
	else if (ftruncate(j->fd, (off_t)j->flight_at) != 0) /* nothing of it may stand before the next attempt */
		return LW_EIO;
	return rc;
}

/* Records of this commit that are not done yet belong to the segment now. */
static void adopt(struct journal *j, struct segment *s)
{
	for (size_t at = 0; at < j->flight.n;) {
		const uint8_t *p = j->flight.p + at;
		uint64_t position = position_at(p);
		if (p[8] == KIND_DATA && lw_map_find(&j->open, position)) {
			open_put(j, position, s->first);
			s->open++;
		}
		at += size_at(p);
	}
}

/* What failed last time stays in front. */
static void take_off(struct journal *j)
{
	if (j->flight.n) {
		lw_buf_append_span(&j->flight, lw_buf_span(&j->out));
	} else {
		struct lw_buf empty = j->flight;
		j->flight = j->out;
		j->out = empty;
	}
	empty_out(j);
}

int journal_commit_begin(struct journal *j)
{
	BUG_ON(j->under_way);
	leave_out_void(j);
	if (j->flight.n == 0 && j->out.n == 0 && j->n_marks == 0) {
		j->covered = j->durable = j->appended;
		return 0;
	}
	bool roll = j->fd < 0 || j->seg[j->n_seg - 1].bytes >= j->segment_bytes;
	if (roll) {
		int rc = start_segment(j);
		if (rc < 0)
			return rc;
	}
	if (j->n_marks)
		put_marks(j);
	take_off(j);
	j->flight_at = j->seg[j->n_seg - 1].bytes;
	j->covered = j->appended;
	j->under_way = true;
	return 1;
}

int journal_commit_end(struct journal *j, int err)
{
	BUG_ON(!j->under_way);
	j->under_way = false;
	if (err < 0)
		return err;
	struct segment *s = &j->seg[j->n_seg - 1];
	adopt(j, s);
	s->bytes += j->flight.n;
	j->disk_bytes += j->flight.n;
	lw_buf_reset(&j->flight);
	if (j->flight.cap > KEEP_BYTES)
		lw_buf_deinit(&j->flight);
	j->durable = j->covered;
	j->st.commits++;
	drop_finished(j);
	return 0;
}

int journal_commit(struct journal *j)
{
	int rc = journal_commit_begin(j);
	return rc <= 0 ? rc : journal_commit_end(j, journal_commit_write(j));
}

uint64_t journal_appended(const struct journal *j)
{
	return j->appended;
}

uint64_t journal_durable(const struct journal *j)
{
	return j->durable;
}

uint64_t journal_settled(struct journal *j)
{
	if (j->flight.n)
		return j->durable;
	while (j->out_at < j->out.n && !lw_map_find(&j->open, position_at(j->out.p + j->out_at)))
		j->out_at += size_at(j->out.p + j->out_at);
	return j->out_at < j->out.n ? position_at(j->out.p + j->out_at) - 1 : j->appended;
}

void journal_stats(const struct journal *j, struct journal_stats *out)
{
	*out = j->st;
	out->open_records = lw_map_count(&j->open);
	out->segments = j->n_seg;
	out->bytes = j->disk_bytes;
}
