/* Prints the OpenAPI document of the REST interface, as the app-server serves it at /api/openapi.json. */
#include <stdio.h>

#include "app-server/api/routes.h"
#include "common/pb/openapi.h"

int main(void)
{
	struct lw_buf out;
	struct lw_schema *schema = lw_schema_new();
	lw_buf_init(&out, 16u * 1024 * 1024);
	int rc = lw_openapi_build(schema, as_routes, as_routes_count, &out);
	if (rc == 0 && (fwrite(out.p, 1, out.n, stdout) != out.n || fputc('\n', stdout) == EOF || fflush(stdout) != 0))
		rc = LW_EIO;
	if (rc < 0)
		fprintf(stderr, "lw-openapi: %s\n", lw_err_text(rc));
	lw_buf_deinit(&out);
	lw_schema_free(schema);
	return rc < 0;
}
