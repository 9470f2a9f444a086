/* From what was asked to what can be computed with: bad receptions out, the rest into one plane. */
#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "geo-server/domain/geo.h"

#define SAME_SITE_M 10.0
#define MAX_SPREAD_M 300e3 /* gateways farther than this from the first one did not hear the same device */
#define MAX_TIME_NS INT64_C(2000000)

static bool position_ok(struct geo_position p)
{
	if (!isfinite(p.latitude) || !isfinite(p.longitude) || !isfinite(p.altitude_m))
		return false;
	if (p.latitude == 0 && p.longitude == 0 && p.altitude_m == 0)
		return false;
	return fabs(p.latitude) <= 90 && fabs(p.longitude) <= 180 && p.altitude_m > -1000 && p.altitude_m < 20000;
}

/* Below the noise the receiver's RSSI is mostly noise: what the wanted signal has of it follows from the SNR. */
static double signal_of(const struct geo_reception *r)
{
	return r->rssi_dbm - 10.0 * log10(1.0 + pow(10.0, -r->snr_db / 10.0));
}

static bool reception_ok(const struct geo_reception *r)
{
	return position_ok(r->gateway) && isfinite(r->rssi_dbm) && isfinite(r->snr_db) && r->rssi_dbm > -200 &&
	       r->rssi_dbm < 30 && fabs(r->snr_db) < 100;
}

static size_t site_of(struct geo_problem *p, struct geo_point g)
{
	for (size_t i = 0; i < p->n_sites; i++)
		if (geo_distance(p->site[i], g) < SAME_SITE_M)
			return i;
	if (p->n_sites == GEO_MAX_SITES)
		return GEO_MAX_SITES;
	p->site[p->n_sites] = g;
	return p->n_sites++;
}

static void add(struct geo_problem *p, const struct geo_frame *f, size_t frame, const struct geo_reception *r,
		uint64_t first_ns)
{
	struct geo_point g = geo_to_plane(&p->plane, r->gateway);
	if (p->n == GEO_MAX_RECEPTIONS || hypot(g.x, g.y) > MAX_SPREAD_M)
		return;
	size_t site = site_of(p, g);
	if (site == GEO_MAX_SITES)
		return;
	int64_t dt = (int64_t)(r->fine_time_ns - first_ns);
	p->obs[p->n++] = (struct geo_obs){
		.gateway = g,
		.frame = frame,
		.site = site,
		.time_ns = dt,
		.has_time = r->fine_time_ns != 0 && dt > -MAX_TIME_NS && dt < MAX_TIME_NS,
		.signal_dbm = signal_of(r),
		.frequency_hz = f->frequency_hz >= 100000000 ? (double)f->frequency_hz : 868e6,
		.spreading_factor = f->spreading_factor,
	};
}

/* The middle one of the frame's times, so that a broken clock cannot throw the others out. */
static uint64_t middle_time(const struct geo_frame *f)
{
	uint64_t v[GEO_MAX_RECEPTIONS];
	size_t n = 0;
	for (size_t i = 0; i < f->n && n < GEO_MAX_RECEPTIONS; i++) {
		const struct geo_reception *r = &f->receptions[i];
		if (!r->fine_time_ns || !reception_ok(r))
			continue;
		size_t k = n++;
		for (; k > 0 && v[k - 1] > r->fine_time_ns; k--)
			v[k] = v[k - 1];
		v[k] = r->fine_time_ns;
	}
	return n ? v[n / 2] : 0;
}

void geo_problem_init(struct geo_problem *p, const struct geo_frame *frames, size_t n)
{
	memset(p, 0, sizeof(*p));
	bool origin = false;
	double lowest = INFINITY;
	for (size_t f = 0; f < n && f < GEO_MAX_FRAMES; f++) {
		uint64_t middle = middle_time(&frames[f]);
		p->n_frames = f + 1;
		for (size_t i = 0; i < frames[f].n; i++) {
			const struct geo_reception *r = &frames[f].receptions[i];
			if (!reception_ok(r))
				continue;
			if (!origin)
				geo_plane_init(&p->plane, r->gateway);
			origin = true;
			lowest = fmin(lowest, r->gateway.altitude_m);
			add(p, &frames[f], f, r, middle);
		}
	}
	/* Antennas stand high, devices do not: as low as the lowest gateway is the best guess without a map. */
	if (origin)
		p->plane.device_z = lowest - p->plane.origin.altitude_m;
}
