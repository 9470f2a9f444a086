/* The choice of the method: times, when their radius is smaller than that of the signal strengths; one gateway's
 * position only when there is no more. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "geo-server/domain/geo.h"

static void take(struct geo_result *out, const struct geo_problem *p, enum geo_method method,
		 const struct geo_estimate *e)
{
	out->method = method;
	out->position = geo_from_plane(&p->plane, geo_ground(&p->plane, e->x, e->y));
	out->uncertainty_m = e->radius_m;
	out->receptions_used = (uint32_t)e->used;
}

void geo_solve(const struct geo_frame *frames, size_t n, struct geo_result *out)
{
	struct geo_problem p;
	struct geo_estimate e;
	memset(out, 0, sizeof(*out));
	geo_problem_init(&p, frames, n);
	if (p.n == 0) {
		snprintf(out->detail, sizeof(out->detail), "no reception with a gateway position");
		return;
	}
	if (geo_rssi(&p, &e) == 0)
		take(out, &p, GEO_RSSI, &e);
	else if (geo_gateway(&p, &e) == 0)
		take(out, &p, GEO_GATEWAY, &e);
	if (geo_tdoa(&p, &e) == 0 && e.radius_m < out->uncertainty_m)
		take(out, &p, GEO_TDOA, &e);
	snprintf(out->detail, sizeof(out->detail), "%zu receptions at %zu places, %u used", p.n, p.n_sites,
		 (unsigned)out->receptions_used);
}
