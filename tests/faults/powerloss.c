/* Preloaded into a daemon, this library keeps beside each file of its state a shadow: what would be on the disk if the
 * power went now. A write reaches the shadow when the file is synced; a new, renamed or removed name when its folder
 * is. After a kill the test puts the shadows in the files' place (power.py). It can also hold a write for as long as a
 * control file says so, which stops the daemon exactly between two things whose order matters. LW_POWER_WATCH   folders
 * or beginnings of file names, separated by ':' LW_POWER_SHADOW  folder of the shadows: the path with '%' for '/';
 * ",new" behind it while the name is not synced LW_DISK_CONTROL  folder: "hold" has a part of a path; writes to such a
 * file wait until it is gone, and "held" appears "full" likewise: such writes fail with ENOSPC */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAX_FILES 512
#define MAX_RANGES 1024

struct range {
	off_t at, end;
};

struct file {
	char *path;
	struct range dirty[MAX_RANGES];
	size_t n;
	bool all; /* too many to remember */
};

enum change_kind { MADE, REMOVED, RENAMED };

struct change {
	struct change *next;
	enum change_kind kind;
	char path[PATH_MAX];
	char to[PATH_MAX];
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct file *files[MAX_FILES];
static size_t n_files;
static struct change *changes;
static __thread bool inside;

#define REAL(name) __typeof__(&name) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

static bool watched(const char *path)
{
	const char *w = getenv("LW_POWER_WATCH");
	while (w && *w) {
		size_t n = strcspn(w, ":");
		if (n && strncmp(path, w, n) == 0)
			return true;
		w += n + (w[n] == ':');
	}
	return false;
}

static bool name_of(int fd, char out[PATH_MAX])
{
	char link[64];
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	ssize_t n = readlink(link, out, PATH_MAX - 1);
	out[n > 0 ? n : 0] = '\0';
	return n > 0 && !strstr(out, " (deleted)");
}

static bool path_of(int fd, char out[PATH_MAX])
{
	return name_of(fd, out) && watched(out);
}

static void absolute(int dir, const char *name, char out[PATH_MAX])
{
	char base[PATH_MAX] = "";
	if (name[0] == '/') {
		snprintf(out, PATH_MAX, "%s", name);
		return;
	}
	if (dir == AT_FDCWD) {
		if (!getcwd(base, sizeof(base)))
			base[0] = '\0';
	} else {
		char link[64];
		snprintf(link, sizeof(link), "/proc/self/fd/%d", dir);
		ssize_t n = readlink(link, base, sizeof(base) - 1);
		base[n > 0 ? n : 0] = '\0';
	}
	if ((size_t)snprintf(out, PATH_MAX, "%s/%s", base, name) >= PATH_MAX)
		out[0] = '\0';
}

static void shadow_of(const char *path, const char *end, char out[PATH_MAX])
{
	const char *dir = getenv("LW_POWER_SHADOW");
	size_t n = (size_t)snprintf(out, PATH_MAX, "%s/", dir ? dir : "/nowhere");
	for (; *path && n < PATH_MAX - 8; path++)
		out[n++] = *path == '/' ? '%' : *path;
	snprintf(out + n, PATH_MAX - n, "%s", end);
}

static bool shadowing(void)
{
	return getenv("LW_POWER_SHADOW") != NULL;
}

/* The shadow under whichever name it has now. */
static void shadow_now(const char *path, char out[PATH_MAX])
{
	shadow_of(path, "", out);
	if (access(out, F_OK) != 0) {
		char fresh[PATH_MAX];
		shadow_of(path, ",new", fresh);
		if (access(fresh, F_OK) == 0)
			memcpy(out, fresh, PATH_MAX);
	}
}

static struct file *file_of(const char *path)
{
	for (size_t i = 0; i < n_files; i++)
		if (strcmp(files[i]->path, path) == 0)
			return files[i];
	if (n_files == MAX_FILES)
		abort();
	struct file *f = calloc(1, sizeof(*f));
	f->path = strdup(path);
	return files[n_files++] = f;
}

static void note_dirty(int fd, off_t at, off_t n)
{
	char path[PATH_MAX];
	if (inside || !shadowing() || !path_of(fd, path))
		return;
	pthread_mutex_lock(&lock);
	struct file *f = file_of(path);
	if (f->n && f->dirty[f->n - 1].end == at)
		f->dirty[f->n - 1].end = at + n;
	else if (f->n < MAX_RANGES)
		f->dirty[f->n++] = (struct range){at, at + n};
	else
		f->all = true;
	pthread_mutex_unlock(&lock);
}

static void copy(int from, int to, off_t at, off_t end)
{
	char b[65536];
	while (at < end) {
		size_t want = end - at < (off_t)sizeof(b) ? (size_t)(end - at) : sizeof(b);
		ssize_t n = pread(from, b, want, at);
		if (n <= 0 || pwrite(to, b, (size_t)n, at) != n)
			return;
		at += n;
	}
}

static void sync_file(int fd, const char *path)
{
	char shadow[PATH_MAX], proc[64];
	struct stat st;
	struct file *f = file_of(path);
	shadow_now(path, shadow);
	/* The caller's descriptor may be for writing only. */
	snprintf(proc, sizeof(proc), "/proc/self/fd/%d", fd);
	int from = open(proc, O_RDONLY | O_CLOEXEC), to = open(shadow, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	if (from < 0 || to < 0 || fstat(from, &st) != 0)
		abort();
	for (size_t i = 0; i < f->n && !f->all; i++)
		copy(from, to, f->dirty[i].at, f->dirty[i].end < st.st_size ? f->dirty[i].end : st.st_size);
	if (f->all)
		copy(from, to, 0, st.st_size);
	if (ftruncate(to, st.st_size) != 0)
		abort();
	close(from);
	close(to);
	f->n = 0;
	f->all = false;
}

static bool in_folder(const char *path, const char *folder)
{
	size_t n = strlen(folder);
	return strncmp(path, folder, n) == 0 && path[n] == '/' && !strchr(path + n + 1, '/');
}

static void apply(const struct change *c)
{
	char a[PATH_MAX], b[PATH_MAX];
	shadow_of(c->path, "", a);
	if (c->kind == MADE) {
		shadow_of(c->path, ",new", b);
		rename(b, a);
	} else if (c->kind == REMOVED) {
		unlink(a);
	} else {
		shadow_now(c->path, a);
		shadow_of(c->to, "", b);
		rename(a, b);
	}
}

static void sync_folder(const char *folder)
{
	struct change **p = &changes;
	while (*p) {
		struct change *c = *p;
		if (!in_folder(c->path, folder)) {
			p = &c->next;
			continue;
		}
		apply(c);
		*p = c->next;
		free(c);
	}
}

static void note_change(enum change_kind kind, const char *path, const char *to)
{
	struct change *c = calloc(1, sizeof(*c)), **p = &changes;
	c->kind = kind;
	snprintf(c->path, sizeof(c->path), "%s", path);
	snprintf(c->to, sizeof(c->to), "%s", to ? to : "");
	while (*p)
		p = &(*p)->next;
	*p = c;
}

/* An empty shadow for a name that is new, a copy for one that was there before us. */
static void note_open(const char *path, bool was_there, int fd)
{
	char shadow[PATH_MAX];
	struct stat st;
	if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))
		return;
	pthread_mutex_lock(&lock);
	inside = true;
	shadow_now(path, shadow);
	if (!was_there) {
		file_of(path)->n = 0;
		shadow_of(path, ",new", shadow);
		close(open(shadow, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
		note_change(MADE, path, NULL);
	} else if (access(shadow, F_OK) != 0) {
		file_of(path)->all = true;
		sync_file(fd, path);
	}
	inside = false;
	pthread_mutex_unlock(&lock);
}

static bool control(const char *name, const char *path)
{
	const char *dir = getenv("LW_DISK_CONTROL");
	char file[PATH_MAX], part[256] = "";
	if (!dir)
		return false;
	snprintf(file, sizeof(file), "%s/%s", dir, name);
	int fd = open(file, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	ssize_t n = read(fd, part, sizeof(part) - 1);
	close(fd);
	return n > 0 && strstr(path, part);
}

/* True: the disk is full. */
static bool disk_says(int fd)
{
	char path[PATH_MAX], file[PATH_MAX];
	if (inside || !getenv("LW_DISK_CONTROL") || !path_of(fd, path))
		return false;
	inside = true;
	while (control("hold", path)) {
		snprintf(file, sizeof(file), "%s/held", getenv("LW_DISK_CONTROL"));
		close(open(file, O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
		usleep(2000);
	}
	bool full = control("full", path);
	inside = false;
	if (full)
		errno = ENOSPC;
	return full;
}

/* --- what is put in front of libc ------------------------------------------------------------------------------- */

static int opened(int dir, const char *name, int flags, mode_t mode)
{
	REAL(openat);
	char path[PATH_MAX];
	if (inside || !shadowing() || !(flags & (O_CREAT | O_WRONLY | O_RDWR)))
		return real(dir, name, flags, mode);
	absolute(dir, name, path);
	bool was_there = access(path, F_OK) == 0;
	int fd = real(dir, name, flags, mode);
	if (fd >= 0 && watched(path))
		note_open(path, was_there, fd);
	return fd;
}

#define MODE(flags)                                                                                                    \
	mode_t mode = 0;                                                                                               \
	if ((flags)&O_CREAT) {                                                                                         \
		va_list ap;                                                                                            \
		va_start(ap, flags);                                                                                   \
		mode = va_arg(ap, mode_t);                                                                             \
		va_end(ap);                                                                                            \
	}

int open(const char *name, int flags, ...)
{
	MODE(flags)
	return opened(AT_FDCWD, name, flags, mode);
}

int open64(const char *name, int flags, ...)
{
	MODE(flags)
	return opened(AT_FDCWD, name, flags, mode);
}

int openat(int dir, const char *name, int flags, ...)
{
	MODE(flags)
	return opened(dir, name, flags, mode);
}

int openat64(int dir, const char *name, int flags, ...)
{
	MODE(flags)
	return opened(dir, name, flags, mode);
}

ssize_t write(int fd, const void *p, size_t n)
{
	REAL(write);
	if (disk_says(fd))
		return -1;
	ssize_t w = real(fd, p, n);
	if (w > 0 && !inside && shadowing()) {
		off_t at = lseek(fd, 0, SEEK_CUR);
		if (at >= w)
			note_dirty(fd, at - w, w);
	}
	return w;
}

ssize_t pwrite64(int fd, const void *p, size_t n, off64_t at)
{
	REAL(pwrite64);
	if (disk_says(fd))
		return -1;
	ssize_t w = real(fd, p, n, at);
	if (w > 0)
		note_dirty(fd, at, w);
	return w;
}

ssize_t pwrite(int fd, const void *p, size_t n, off_t at)
{
	return pwrite64(fd, p, n, at);
}

static int synced(int fd)
{
	char path[PATH_MAX];
	struct stat st;
	if (inside || !shadowing() || !name_of(fd, path) || fstat(fd, &st) != 0 ||
	    (!S_ISDIR(st.st_mode) && !watched(path)))
		return 0;
	pthread_mutex_lock(&lock);
	inside = true;
	if (S_ISDIR(st.st_mode))
		sync_folder(path);
	else if (S_ISREG(st.st_mode))
		sync_file(fd, path);
	inside = false;
	pthread_mutex_unlock(&lock);
	return 0;
}

/* The disk itself need not be waited for: its place is taken by the shadow. */
int fsync(int fd)
{
	return disk_says(fd) ? -1 : synced(fd);
}

int fdatasync(int fd)
{
	return disk_says(fd) ? -1 : synced(fd);
}

static void changed(enum change_kind kind, int dir, const char *name, int to_dir, const char *to)
{
	char a[PATH_MAX], b[PATH_MAX] = "";
	if (inside || !shadowing())
		return;
	absolute(dir, name, a);
	if (to)
		absolute(to_dir, to, b);
	if (!watched(a))
		return;
	pthread_mutex_lock(&lock);
	inside = true;
	note_change(kind, a, b);
	inside = false;
	pthread_mutex_unlock(&lock);
}

int unlink(const char *name)
{
	REAL(unlink);
	int rc = real(name);
	if (rc == 0)
		changed(REMOVED, AT_FDCWD, name, 0, NULL);
	return rc;
}

int unlinkat(int dir, const char *name, int flags)
{
	REAL(unlinkat);
	int rc = real(dir, name, flags);
	if (rc == 0)
		changed(REMOVED, dir, name, 0, NULL);
	return rc;
}

int rename(const char *from, const char *to)
{
	REAL(rename);
	int rc = real(from, to);
	if (rc == 0)
		changed(RENAMED, AT_FDCWD, from, AT_FDCWD, to);
	return rc;
}

int renameat(int fd, const char *from, int to_fd, const char *to)
{
	REAL(renameat);
	int rc = real(fd, from, to_fd, to);
	if (rc == 0)
		changed(RENAMED, fd, from, to_fd, to);
	return rc;
}
