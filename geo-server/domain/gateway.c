/* One gateway only: its own position, with the radius that the signal's strength allows. */
#include <math.h>

#include "common/base/err.h"
#include "geo-server/domain/geo.h"

/* Of log10(distance): shadowing and the device's unknown power together (10 dB) over 10 times the exponent (35). */
#define SPREAD (10.0 / 35.0)
/* 68 % of a normal distribution lie below the mean plus this many deviations. */
#define QUANTILE_68 0.468
#define LEAST_M 50.0

int geo_gateway(const struct geo_problem *p, struct geo_estimate *out)
{
	if (p->n == 0)
		return LW_ENOTFOUND;
	const struct geo_obs *best = &p->obs[0];
	for (size_t i = 1; i < p->n; i++)
		if (p->obs[i].signal_dbm > best->signal_dbm)
			best = &p->obs[i];
	/* Distances as likely as each other, instead of their logarithms, shift the logarithm by ln(10) · spread². */
	double log_d = geo_log_distance(best->signal_dbm, best->frequency_hz) + M_LN10 * SPREAD * SPREAD +
		       QUANTILE_68 * SPREAD;
	double radius = fmin(pow(10.0, log_d), geo_max_distance(best->frequency_hz, best->spreading_factor));
	*out = (struct geo_estimate){
		.x = best->gateway.x, .y = best->gateway.y, .radius_m = fmax(radius, LEAST_M), .used = 1};
	return 0;
}
