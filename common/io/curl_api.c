#define LW_CURL_NO_NAMES
#include "common/io/curl_api.h"

#include <dlfcn.h>
#include <pthread.h>
#include <string.h>

struct lw_curl lw_curl; /* written once, by load() */

static char failure[200];
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void load(void)
{
	void *lib = dlopen("libcurl.so.4", RTLD_NOW | RTLD_LOCAL);
	if (!lib) {
		strncpy(failure, dlerror(), sizeof(failure) - 1);
		return;
	}
	void *f;
#define X(name)                                                                                                        \
	f = dlsym(lib, #name);                                                                                         \
	if (!f)                                                                                                        \
		strncpy(failure, #name " is missing in libcurl", sizeof(failure) - 1);                                 \
	memcpy(&lw_curl.name, &f, sizeof(f));
	LW_CURL_FUNCTIONS(X)
#undef X
}

int lw_curl_load(struct lw_diag *diag)
{
	pthread_once(&once, load);
	if (!failure[0])
		return 0;
	lw_diag_set(diag, "libcurl cannot be loaded: %s", failure);
	return LW_EUNSUPPORTED;
}
