#include "common/io/journal_writer.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "common/base/bug.h"
#include "common/base/xmalloc.h"

/* After a failed commit; doubles until one succeeds. */
#define RETRY_MIN_MS 100
#define RETRY_MAX_MS 2000

/* A commit starts no sooner than this after the one before it: under load one sync serves many records. Nothing but the
 * acknowledgement to the broker waits for it. */
#define GAP_MS 5

struct journal_writer {
	struct rt_loop *loop;
	struct journal *j;
	journal_written_fn *fn;
	void *arg;
	struct rt_watch *watch;
	struct rt_timer retry, gap;
	uint32_t retry_ms;
	int64_t begun_ns; /* the commit before; INT64_MIN: none */
	int fd;           /* the thread says: done */
	bool here;
	bool busy;   /* a commit is under way */
	bool wanted; /* another one behind it */
	bool has_thread;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	/* Under the lock. */
	bool job, quit;
	int result;
};

static void *on_thread(void *arg)
{
	struct journal_writer *w = arg;
	pthread_mutex_lock(&w->lock);
	for (;;) {
		while (!w->job && !w->quit)
			pthread_cond_wait(&w->wake, &w->lock);
		if (!w->job)
			break;
		pthread_mutex_unlock(&w->lock);
		int result = journal_commit_write(w->j);
		pthread_mutex_lock(&w->lock);
		w->result = result;
		w->job = false;
		/* Who is woken wants the lock. */
		pthread_mutex_unlock(&w->lock);
		ssize_t ignored = write(w->fd, &(uint64_t){1}, sizeof(uint64_t));
		(void)ignored;
		pthread_mutex_lock(&w->lock);
	}
	pthread_mutex_unlock(&w->lock);
	return NULL;
}

static int start_thread(struct journal_writer *w)
{
	/* Signals belong to the loop's thread. */
	sigset_t all, old;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	int err = pthread_create(&w->thread, NULL, on_thread, w);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	w->has_thread = err == 0;
	return -err;
}

static void ended(struct journal_writer *w, int err)
{
	if (err < 0) {
		rt_timer_start(&w->retry, w->retry_ms);
		w->retry_ms = w->retry_ms < RETRY_MAX_MS / 2 ? 2 * w->retry_ms : RETRY_MAX_MS;
	} else {
		w->retry_ms = RETRY_MIN_MS;
	}
	w->fn(w->arg, err);
}

static void begin(struct journal_writer *w)
{
	w->wanted = false;
	int rc = journal_commit_begin(w->j);
	if (rc == 0)
		return;
	if (rc < 0) {
		ended(w, rc);
		return;
	}
	if (w->here) {
		ended(w, journal_commit_end(w->j, journal_commit_write(w->j)));
		return;
	}
	w->busy = true;
	w->begun_ns = rt_loop_mono_ns(w->loop);
	pthread_mutex_lock(&w->lock);
	w->job = true;
	pthread_mutex_unlock(&w->lock);
	pthread_cond_signal(&w->wake);
}

static void on_finished(struct rt_watch *watch, unsigned events, void *arg)
{
	struct journal_writer *w = arg;
	uint64_t n;
	(void)watch;
	(void)events;
	if (read(w->fd, &n, sizeof(n)) != sizeof(n) || !w->busy)
		return;
	pthread_mutex_lock(&w->lock);
	int err = w->result;
	pthread_mutex_unlock(&w->lock);
	w->busy = false;
	ended(w, journal_commit_end(w->j, err));
	if (w->wanted)
		journal_writer_commit(w);
}

static void on_gap_end(struct rt_timer *t, void *arg)
{
	(void)t;
	journal_writer_commit(arg);
}

static void on_retry(struct rt_timer *t, void *arg)
{
	(void)t;
	journal_writer_commit(arg);
}

int journal_writer_new(struct journal_writer **out, struct rt_loop *loop, struct journal *j, bool here,
		       journal_written_fn *fn, void *arg, struct lw_diag *diag)
{
	struct journal_writer *w = lw_xcalloc(1, sizeof(*w));
	*w = (struct journal_writer){.loop = loop,
				     .j = j,
				     .fn = fn,
				     .arg = arg,
				     .here = here,
				     .retry_ms = RETRY_MIN_MS,
				     .begun_ns = INT64_MIN};
	pthread_mutex_init(&w->lock, NULL);
	pthread_cond_init(&w->wake, NULL);
	rt_timer_init(&w->retry, loop, "journal.retry", on_retry, w);
	rt_timer_init(&w->gap, loop, "journal.gap", on_gap_end, w);
	w->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	int err = w->fd < 0 ? -errno : 0;
	if (err == 0 && !(w->watch = rt_watch_new(loop, w->fd, RT_READ, "journal", on_finished, w)))
		err = LW_EIO;
	if (err == 0 && !here)
		err = start_thread(w);
	if (err < 0) {
		lw_diag_set(diag, "the journal's thread: %s", lw_err_text(err));
		journal_writer_free(w);
		return err;
	}
	*out = w;
	return 0;
}

void journal_writer_commit(struct journal_writer *w)
{
	BUG_ON(!w->here && !w->has_thread);
	if (w->busy) {
		w->wanted = true;
		return;
	}
	if (rt_timer_armed(&w->retry) || rt_timer_armed(&w->gap))
		return;
	if (w->begun_ns != INT64_MIN && rt_loop_mono_ns(w->loop) - w->begun_ns < GAP_MS * LW_NS_PER_MS)
		rt_timer_start_at(&w->gap, w->begun_ns + GAP_MS * LW_NS_PER_MS);
	else
		begin(w);
}

/* Afterwards no commit is under way. */
static void stop(struct journal_writer *w)
{
	rt_timer_stop(&w->retry);
	rt_timer_stop(&w->gap);
	if (w->has_thread) {
		pthread_mutex_lock(&w->lock);
		w->quit = true;
		pthread_cond_signal(&w->wake);
		pthread_mutex_unlock(&w->lock);
		pthread_join(w->thread, NULL);
		w->has_thread = false;
	}
	if (w->busy)
		journal_commit_end(w->j, w->result);
	w->busy = false;
}

int journal_writer_finish(struct journal_writer *w)
{
	stop(w);
	return journal_commit(w->j);
}

void journal_writer_free(struct journal_writer *w)
{
	if (!w)
		return;
	stop(w);
	rt_watch_free(w->watch);
	if (w->fd >= 0)
		close(w->fd);
	pthread_cond_destroy(&w->wake);
	pthread_mutex_destroy(&w->lock);
	free(w);
}
