#include "gateway-bridge/link/spooler.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "common/base/bug.h"
#include "common/base/xmalloc.h"

/* Items of one transaction. */
#define PART 256
/* Read in one round. */
#define PEEK_BYTES ((size_t)4 * 1024 * 1024)
#define PEEK_MAX ((size_t)64 * 1024 * 1024)

struct gb_spooler {
	struct spool *spool;
	void (*on_done)(void *arg);
	void *arg;
	struct rt_watch *watch;
	int fd; /* the thread says: done */
	bool busy;
	bool has_thread;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	/* Under the lock. */
	struct gb_spool_job *jobs; /* NULL: none to do */
	size_t n_jobs;
	bool quit;
};

/* --- jobs ------------------------------------------------------------------------------------------------------- */

void gb_spool_job_init(struct gb_spool_job *j, const char *queue)
{
	*j = (struct gb_spool_job){.queue = queue};
	lw_buf_init(&j->bytes, PEEK_MAX);
}

void gb_spool_job_deinit(struct gb_spool_job *j)
{
	free(j->items);
	free(j->peeked);
	lw_buf_deinit(&j->bytes);
}

void gb_spool_job_reset(struct gb_spool_job *j)
{
	struct spool_stats stats = j->stats;
	struct gb_spool_job empty = {.queue = j->queue,
				     .items = j->items,
				     .cap_items = j->cap_items,
				     .peeked = j->peeked,
				     .cap_peeked = j->cap_peeked,
				     .bytes = j->bytes,
				     .stats = stats};
	*j = empty;
	if (j->bytes.cap > PEEK_BYTES)
		lw_buf_deinit(&j->bytes);
	lw_buf_reset(&j->bytes);
}

void gb_spool_job_add(struct gb_spool_job *j, struct lw_span topic, struct lw_span data)
{
	if (j->n_items == j->cap_items) {
		j->cap_items = j->cap_items ? 2 * j->cap_items : PART;
		j->items = lw_xreallocarray(j->items, j->cap_items, sizeof(j->items[0]));
	}
	j->items[j->n_items++] = (struct spool_item){.topic = topic, .data = data};
}

static int take(void *arg, const struct spool_item *item)
{
	struct gb_spool_job *j = arg;
	if (j->n_peeked > 0 && j->bytes.n + item->topic.n + item->data.n > PEEK_BYTES)
		return -1;
	if (j->n_peeked == j->cap_peeked) {
		j->cap_peeked = j->cap_peeked ? 2 * j->cap_peeked : 64;
		j->peeked = lw_xreallocarray(j->peeked, j->cap_peeked, sizeof(j->peeked[0]));
	}
	j->peeked[j->n_peeked++] = (struct gb_spool_peeked){.id = item->id,
							    .topic_at = j->bytes.n,
							    .topic_n = item->topic.n,
							    .data_at = j->bytes.n + item->topic.n,
							    .data_n = item->data.n};
	lw_buf_append_span(&j->bytes, item->topic);
	lw_buf_append_span(&j->bytes, item->data);
	return 0;
}

static void append(struct spool *spool, struct gb_spool_job *j)
{
	for (size_t i = 0; i < j->n_items; i += PART) {
		size_t n = j->n_items - i < PART ? j->n_items - i : PART;
		int err = spool_append(spool, j->queue, j->items + i, n, j->now_ns);
		if (err >= 0) {
			j->dropped += (uint64_t)err;
			continue;
		}
		j->lost += n;
		j->append_err = j->append_err ? j->append_err : err;
	}
}

static void run(struct spool *spool, struct gb_spool_job *jobs, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct gb_spool_job *j = &jobs[i];
		int err = j->ack ? spool_ack(spool, j->queue, j->ack) : 0;
		j->ack_err = err < 0 ? err : 0;
		append(spool, j);
		err = j->peek ? spool_peek(spool, j->queue, 0, j->peek, j->now_ns, take, j) : 0;
		j->peek_err = err < 0 ? err : 0;
		spool_stats(spool, j->queue, &j->stats);
	}
}

/* --- thread ----------------------------------------------------------------------------------------------------- */

static void *on_thread(void *arg)
{
	struct gb_spooler *s = arg;
	pthread_mutex_lock(&s->lock);
	for (;;) {
		while (!s->jobs && !s->quit)
			pthread_cond_wait(&s->wake, &s->lock);
		if (!s->jobs)
			break;
		struct gb_spool_job *jobs = s->jobs;
		size_t n = s->n_jobs;
		pthread_mutex_unlock(&s->lock);
		run(s->spool, jobs, n);
		pthread_mutex_lock(&s->lock);
		s->jobs = NULL;
		ssize_t ignored = write(s->fd, &(uint64_t){1}, sizeof(uint64_t));
		(void)ignored;
	}
	pthread_mutex_unlock(&s->lock);
	return NULL;
}

static void start_thread(struct gb_spooler *s)
{
	/* Signals belong to the loop's thread. */
	sigset_t all, old;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	s->has_thread = pthread_create(&s->thread, NULL, on_thread, s) == 0;
	pthread_sigmask(SIG_SETMASK, &old, NULL);
}

static void on_finished(struct rt_watch *w, unsigned events, void *arg)
{
	struct gb_spooler *s = arg;
	uint64_t n;
	(void)w;
	(void)events;
	if (read(s->fd, &n, sizeof(n)) != sizeof(n) || !s->busy)
		return;
	s->busy = false;
	s->on_done(s->arg);
}

int gb_spooler_new(struct gb_spooler **out, struct rt_loop *loop, const struct spool_opts *opts,
		   void (*on_done)(void *arg), void *arg, struct lw_diag *diag)
{
	struct spool *spool;
	int err = spool_open(&spool, opts, diag);
	if (err < 0)
		return err;
	int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (fd < 0) {
		err = -errno;
		lw_diag_set(diag, "eventfd: %s", lw_err_text(err));
		spool_close(spool);
		return err;
	}
	struct gb_spooler *s = lw_xcalloc(1, sizeof(*s));
	s->spool = spool;
	s->on_done = on_done;
	s->arg = arg;
	s->fd = fd;
	pthread_mutex_init(&s->lock, NULL);
	pthread_cond_init(&s->wake, NULL);
	s->watch = rt_watch_new(loop, fd, RT_READ, "spooler", on_finished, s);
	BUG_ON(!s->watch);
	*out = s;
	return 0;
}

void gb_spooler_stop(struct gb_spooler *s)
{
	if (s->has_thread) {
		pthread_mutex_lock(&s->lock);
		s->quit = true;
		pthread_cond_signal(&s->wake);
		pthread_mutex_unlock(&s->lock);
		pthread_join(s->thread, NULL);
	}
	s->has_thread = false;
	s->busy = false;
}

bool gb_spooler_was_damaged(const struct gb_spooler *s)
{
	return spool_was_damaged(s->spool);
}

void gb_spooler_free(struct gb_spooler *s)
{
	if (!s)
		return;
	gb_spooler_stop(s);
	rt_watch_free(s->watch);
	close(s->fd);
	pthread_cond_destroy(&s->wake);
	pthread_mutex_destroy(&s->lock);
	spool_close(s->spool);
	free(s);
}

void gb_spooler_run(struct gb_spooler *s, struct gb_spool_job *jobs, size_t n)
{
	BUG_ON(s->busy || s->quit);
	s->busy = true;
	/* Most bridges never need it. */
	if (!s->has_thread)
		start_thread(s);
	if (!s->has_thread) { /* better late than never */
		run(s->spool, jobs, n);
		ssize_t ignored = write(s->fd, &(uint64_t){1}, sizeof(uint64_t));
		(void)ignored;
		return;
	}
	pthread_mutex_lock(&s->lock);
	s->jobs = jobs;
	s->n_jobs = n;
	pthread_cond_signal(&s->wake);
	pthread_mutex_unlock(&s->lock);
}

bool gb_spooler_busy(const struct gb_spooler *s)
{
	return s->busy;
}

void gb_spooler_run_here(struct gb_spooler *s, struct gb_spool_job *jobs, size_t n)
{
	BUG_ON(s->busy || s->has_thread);
	run(s->spool, jobs, n);
}
