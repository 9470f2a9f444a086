#define LW_PQ_NO_NAMES
#include "common/io/pq_api.h"

#include <dlfcn.h>
#include <pthread.h>
#include <string.h>

struct lw_pq lw_pq; /* written once, by load() */

static char failure[200];
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void load(void)
{
	void *lib = dlopen("libpq.so.5", RTLD_NOW | RTLD_LOCAL);
	if (!lib) {
		strncpy(failure, dlerror(), sizeof(failure) - 1);
		return;
	}
	void *f;
#define X(name)                                                                                                        \
	f = dlsym(lib, #name);                                                                                         \
	if (!f)                                                                                                        \
		strncpy(failure, #name " is missing in libpq", sizeof(failure) - 1);                                   \
	memcpy(&lw_pq.name, &f, sizeof(f));
	LW_PQ_FUNCTIONS(X)
#undef X
}

int lw_pq_load(struct lw_diag *diag)
{
	pthread_once(&once, load);
	if (!failure[0])
		return 0;
	lw_diag_set(diag, "PostgreSQL's client library cannot be loaded: %s", failure);
	return LW_EUNSUPPORTED;
}
