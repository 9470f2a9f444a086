#include "gateway-bridge/store/instance.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/base/rng.h"

int gb_instance_load(const char *state_dir, char out[GB_INSTANCE_TEXT], struct lw_diag *diag)
{
	char path[4096];
	snprintf(path, sizeof(path), "%s/instance", state_dir);
	memset(out, 0, GB_INSTANCE_TEXT);
	FILE *f = fopen(path, "re");
	if (f) {
		size_t n = fread(out, 1, GB_INSTANCE_TEXT - 1, f);
		fclose(f);
		if (n == GB_INSTANCE_TEXT - 1 && strspn(out, "0123456789abcdef") == n)
			return 0;
	}
	struct lw_rng rng;
	lw_rng_init_system(&rng);
	snprintf(out, GB_INSTANCE_TEXT, "%016" PRIx64, lw_rng_u64(&rng));
	f = fopen(path, "we");
	int err = f && fprintf(f, "%s\n", out) > 0 ? 0 : -errno;
	if (f && fclose(f) != 0 && err == 0)
		err = -errno;
	if (err < 0)
		lw_diag_set(diag, "state_dir: cannot write %s: %s", path, lw_err_text(err));
	return err;
}
