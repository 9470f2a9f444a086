#define LW_CURL_NO_NAMES
#include "common/io/curl_api.h"

#include <pthread.h>

#include "common/io/late.h"

struct lw_curl lw_curl; /* written once, by load() */

static const char *const names[] = {
#define X(name) #name,
	LW_CURL_FUNCTIONS(X)
#undef X
};
static struct late_library library = {
	.soname = "libcurl.so.4", .functions = names, .n_functions = sizeof(names) / sizeof(*names)};
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void load(void)
{
	late_load(&library, &lw_curl);
}

int lw_curl_load(struct lw_diag *diag)
{
	pthread_once(&once, load);
	return late_result(&library, "libcurl", diag);
}
