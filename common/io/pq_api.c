#define LW_PQ_NO_NAMES
#include "common/io/pq_api.h"

#include <pthread.h>

#include "common/io/late.h"

struct lw_pq lw_pq; /* written once, by load() */

static const char *const names[] = {
#define X(name) #name,
	LW_PQ_FUNCTIONS(X)
#undef X
};
static struct late_library library = {
	.soname = "libpq.so.5", .functions = names, .n_functions = sizeof(names) / sizeof(*names)};
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void load(void)
{
	late_load(&library, &lw_pq);
}

int lw_pq_load(struct lw_diag *diag)
{
	pthread_once(&once, load);
	return late_result(&library, "PostgreSQL's client library", diag);
}
