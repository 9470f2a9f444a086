#include "common/io/late.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

void late_load(struct late_library *lib, void *into)
{
	void *so = dlopen(lib->soname, RTLD_NOW | RTLD_LOCAL);
	if (!so) {
		snprintf(lib->text, sizeof(lib->text), "%s", dlerror());
		lib->failure = lib->text;
		return;
	}
	for (size_t i = 0; i < lib->n_functions; i++) {
		void *f = dlsym(so, lib->functions[i]);
		if (!f) {
			snprintf(lib->text, sizeof(lib->text), "%s has no %s", lib->soname, lib->functions[i]);
			lib->failure = lib->text;
			return;
		}
		memcpy((char *)into + i * sizeof(f), &f, sizeof(f));
	}
}

int late_result(const struct late_library *lib, const char *what, struct lw_diag *diag)
{
	if (!lib->failure)
		return 0;
	lw_diag_set(diag, "%s cannot be loaded: %s", what, lib->failure);
	return LW_EUNSUPPORTED;
}
