/* Signal strength: a log-distance path loss model, evaluated on a grid. The sum of weighted squared errors at each
 * point becomes a probability, so that the mean and the radius that holds 68 % follow directly, also where the solution
 * is a ring or two places. The device's own power and surroundings are an unknown offset that all links share. */
#include <math.h>
#include <string.h>

#include "common/base/err.h"
#include "geo-server/domain/geo.h"

#define EIRP_DBM 14.0
#define ANTENNA_DB 2.0 /* of the gateway */
#define CLUTTER_DB 8.0 /* mean loss by walls and low antennas */
#define EXPONENT 3.5
#define NEAR_M 100.0 /* free space up to here */
#define SHADOW_DB 8.0
#define OFFSET_DB 6.0 /* standard deviation of what all links share */
#define GRID 49
#define ZOOMS 3
#define MIN_DISTANCE_M 20.0

static double loss_at_near(double frequency_hz)
{
	return 20.0 * log10(4.0 * M_PI * NEAR_M * frequency_hz / 299792458.0) + CLUTTER_DB;
}

double geo_log_distance(double signal_dbm, double frequency_hz)
{
	double loss = EIRP_DBM + ANTENNA_DB - signal_dbm;
	return log10(NEAR_M) + (loss - loss_at_near(frequency_hz)) / (10.0 * EXPONENT);
}

double geo_max_distance(double frequency_hz, uint32_t spreading_factor)
{
	/* Sensitivity at 125 kHz with a noise figure of 6 dB: -174 + 51 + 6 + the demodulator's SNR limit. A link may
	 * be better than the model by two deviations. */
	double sf = spreading_factor >= 5 && spreading_factor <= 12 ? (double)spreading_factor : 12.0;
	double sensitivity = -117.0 + 10.0 - 2.5 * sf;
	return pow(10.0, geo_log_distance(sensitivity, frequency_hz) + 2.0 * SHADOW_DB / (10.0 * EXPONENT));
}

struct link {
	struct geo_point gateway;
	double log_d; /* expected */
	double sum_dbm;
	double n;
};

/* One link for each site, from the mean of its receptions: they share their path, more frames do not make it better. */
static size_t links_of(const struct geo_problem *p, struct link v[GEO_MAX_SITES])
{
	double hz = p->obs[0].frequency_hz;
	memset(v, 0, GEO_MAX_SITES * sizeof(*v));
	for (size_t i = 0; i < p->n; i++) {
		struct link *l = &v[p->obs[i].site];
		l->gateway = p->site[p->obs[i].site];
		l->sum_dbm += p->obs[i].signal_dbm;
		l->n++;
	}
	for (size_t i = 0; i < p->n_sites; i++)
		v[i].log_d = geo_log_distance(v[i].sum_dbm / v[i].n, hz);
	return p->n_sites;
}

/* Minus the logarithm of the probability, but for a constant. Errors are SHADOW_DB for each link and OFFSET_DB for all
 * together; the shared part is integrated out. Before anything is measured every distance from the nearest gateway is
 * as likely as any other: gateways stand where devices are. */
static double badness(const struct geo_problem *p, const struct link *v, size_t n, double x, double y)
{
	struct geo_point at = geo_ground(&p->plane, x, y);
	double sum = 0;
	double squares = 0;
	double nearest = INFINITY;
	for (size_t i = 0; i < n; i++) {
		double d = fmax(geo_distance(v[i].gateway, at), MIN_DISTANCE_M);
		nearest = fmin(nearest, d);
		double e = 10.0 * EXPONENT * (log10(d) - v[i].log_d);
		sum += e;
		squares += e * e;
	}
	double s2 = SHADOW_DB * SHADOW_DB;
	double o2 = OFFSET_DB * OFFSET_DB;
	return (squares - sum * sum * o2 / (s2 + (double)n * o2)) / (2.0 * s2) + log(nearest);
}

struct window {
	double x;
	double y;
	double half_x;
	double half_y;
};

struct cell {
	double x;
	double y;
	double w;
	double r;
};

static double fill(const struct geo_problem *p, const struct link *v, size_t n, const struct window *win,
		   struct cell cells[GRID * GRID])
{
	double lowest = INFINITY;
	double total = 0;
	for (int i = 0; i < GRID * GRID; i++) {
		struct cell *c = &cells[i];
		c->x = win->x + win->half_x * (2.0 * (i % GRID) / (GRID - 1) - 1.0);
		c->y = win->y + win->half_y * (2.0 * (i / GRID) / (GRID - 1) - 1.0);
		c->w = badness(p, v, n, c->x, c->y);
		lowest = fmin(lowest, c->w);
	}
	for (int i = 0; i < GRID * GRID; i++) {
		cells[i].w = exp(lowest - cells[i].w);
		total += cells[i].w;
	}
	return total;
}

/* Smallest radius around (x, y) that holds 68 % of the weight, by bisection. */
static double radius_of(struct cell cells[GRID * GRID], double total, double x, double y, double high)
{
	double low = 0;
	for (int i = 0; i < GRID * GRID; i++)
		cells[i].r = hypot(cells[i].x - x, cells[i].y - y);
	for (int k = 0; k < 24; k++) {
		double mid = (low + high) / 2.0;
		double inside = 0;
		for (int i = 0; i < GRID * GRID; i++)
			if (cells[i].r <= mid)
				inside += cells[i].w;
		if (inside < 0.68 * total)
			low = mid;
		else
			high = mid;
	}
	return high;
}

static struct window first_window(const struct geo_problem *p, const struct link *v, size_t n)
{
	double x0 = INFINITY, x1 = -INFINITY, y0 = INFINITY, y1 = -INFINITY;
	double range = INFINITY;
	for (size_t i = 0; i < n; i++) {
		x0 = fmin(x0, v[i].gateway.x);
		x1 = fmax(x1, v[i].gateway.x);
		y0 = fmin(y0, v[i].gateway.y);
		y1 = fmax(y1, v[i].gateway.y);
		/* Eight times as far as expected: beyond two deviations of everything. */
		range = fmin(range, 8.0 * pow(10.0, v[i].log_d));
	}
	range = fmin(fmax(range, 500.0), geo_max_distance(p->obs[0].frequency_hz, p->obs[0].spreading_factor));
	return (struct window){(x0 + x1) / 2, (y0 + y1) / 2, (x1 - x0) / 2 + range, (y1 - y0) / 2 + range};
}

int geo_rssi(const struct geo_problem *p, struct geo_estimate *out)
{
	struct link v[GEO_MAX_SITES];
	struct cell cells[GRID * GRID];
	if (p->n_sites < 2)
		return LW_ENOTFOUND;
	size_t n = links_of(p, v);
	struct window win = first_window(p, v, n);
	for (int zoom = 0;; zoom++) {
		double total = fill(p, v, n, &win, cells);
		double x = 0, y = 0, xx = 0, yy = 0;
		for (int i = 0; i < GRID * GRID; i++) {
			x += cells[i].w * cells[i].x / total;
			y += cells[i].w * cells[i].y / total;
		}
		for (int i = 0; i < GRID * GRID; i++) {
			xx += cells[i].w * (cells[i].x - x) * (cells[i].x - x) / total;
			yy += cells[i].w * (cells[i].y - y) * (cells[i].y - y) / total;
		}
		if (zoom == ZOOMS) {
			double r = radius_of(cells, total, x, y, 2.0 * hypot(win.half_x, win.half_y));
			*out = (struct geo_estimate){.x = x, .y = y, .radius_m = r, .used = p->n};
			return 0;
		}
		/* Closer, but never so close that weight is cut off. */
		win = (struct window){x, y, fmin(win.half_x, 4.0 * sqrt(xx) + 50.0),
				      fmin(win.half_y, 4.0 * sqrt(yy) + 50.0)};
	}
}
