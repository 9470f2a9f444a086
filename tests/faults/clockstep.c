/* Preloaded into a process, this library adds to the wall clock what a file says: eight bytes, nanoseconds, which a
 * test changes while the process runs (clock.py). Clocks that nobody sets stay as they are. LW_CLOCK_FILE: the file. */
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define NS_PER_S 1000000000LL

static const volatile int64_t *offset;
static int (*real_clock_gettime)(clockid_t, struct timespec *);

__attribute__((constructor)) static void begin(void)
{
	const char *path = getenv("LW_CLOCK_FILE");
	int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	void *p = fd < 0 ? MAP_FAILED : mmap(NULL, sizeof(*offset), PROT_READ, MAP_SHARED, fd, 0);
	if (fd >= 0)
		close(fd);
	real_clock_gettime = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
	offset = p == MAP_FAILED ? NULL : p;
}

static void shift(struct timespec *ts)
{
	int64_t ns = offset ? ts->tv_nsec + *offset % NS_PER_S : ts->tv_nsec;
	ts->tv_sec += offset ? *offset / NS_PER_S : 0;
	if (ns < 0 || ns >= NS_PER_S) {
		ts->tv_sec += ns < 0 ? -1 : 1;
		ns += ns < 0 ? NS_PER_S : -NS_PER_S;
	}
	ts->tv_nsec = ns;
}

int clock_gettime(clockid_t clock, struct timespec *ts)
{
	if (!real_clock_gettime) /* another library's constructor */
		real_clock_gettime = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
	int rc = real_clock_gettime(clock, ts);
	if (rc == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
		shift(ts);
	return rc;
}

int gettimeofday(struct timeval *restrict tv, void *restrict zone)
{
	struct timespec ts;
	(void)zone;
	clock_gettime(CLOCK_REALTIME, &ts);
	tv->tv_sec = ts.tv_sec;
	tv->tv_usec = ts.tv_nsec / 1000;
	return 0;
}

time_t time(time_t *out)
{
	struct timespec ts;
	clock_gettime(CLOCK_REALTIME, &ts);
	if (out)
		*out = ts.tv_sec;
	return ts.tv_sec;
}

int timespec_get(struct timespec *ts, int base)
{
	return base == TIME_UTC && clock_gettime(CLOCK_REALTIME, ts) == 0 ? base : 0;
}
