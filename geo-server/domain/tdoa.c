/* Time difference of arrival: least squares over the receptions with fine timestamps. Each frame's time of sending
 * drops out as the mean of its residuals, so that two unknowns remain, east and north. The cost has several minima
 * (three gateways even two exact ones), so the search starts from a grid and from the linearised solution. */
#include <math.h>
#include <stdbool.h>
#include <string.h>

#include <cminpack.h>

#include "common/base/err.h"
#include "geo-server/domain/geo.h"

#define C_M_PER_NS 0.299792458
/* Error of one timestamp as a distance: 100 ns, which gateways with GNSS and a clear view reach. Counts as much as
 * PRIOR_WEIGHT measured residuals, so that a perfect fit by chance does not promise centimetres. */
#define PRIOR_SIGMA_M 30.0
#define PRIOR_WEIGHT 2.0
#define OUTLIER_SIGMA 5.0
#define MAX_OUTLIERS 8
#define MAX_CANDIDATES 16
#define GRID 25
#define MAX_MINIMA 8
#define SAME_MINIMUM_M 20.0
#define MAX_RANGE_M 150e3

struct fit {
	const struct geo_problem *p;
	size_t v[GEO_MAX_RECEPTIONS]; /* observations in use */
	size_t n;
};

/* ---- the model ------------------------------------------------------------------------------------------------------
 */

/* Subtracts from each value the mean of its frame. */
static void centre(const struct fit *f, double *r)
{
	double sum[GEO_MAX_FRAMES] = {0};
	size_t count[GEO_MAX_FRAMES] = {0};
	for (size_t i = 0; i < f->n; i++) {
		size_t frame = f->p->obs[f->v[i]].frame;
		sum[frame] += r[i];
		count[frame]++;
	}
	for (size_t i = 0; i < f->n; i++) {
		size_t frame = f->p->obs[f->v[i]].frame;
		r[i] -= sum[frame] / (double)count[frame];
	}
}

static void residuals(const struct fit *f, double x, double y, double *r)
{
	struct geo_point at = geo_ground(&f->p->plane, x, y);
	for (size_t i = 0; i < f->n; i++) {
		const struct geo_obs *o = &f->p->obs[f->v[i]];
		r[i] = (double)o->time_ns * C_M_PER_NS - geo_distance(o->gateway, at);
	}
	centre(f, r);
}

/* dr/dx and dr/dy. */
static void jacobian(const struct fit *f, double x, double y, double *jx, double *jy)
{
	struct geo_point at = geo_ground(&f->p->plane, x, y);
	for (size_t i = 0; i < f->n; i++) {
		const struct geo_obs *o = &f->p->obs[f->v[i]];
		double d = fmax(geo_distance(o->gateway, at), 1.0);
		jx[i] = (o->gateway.x - x) / d;
		jy[i] = (o->gateway.y - y) / d;
	}
	centre(f, jx);
	centre(f, jy);
}

static double cost(const struct fit *f, double x, double y)
{
	double r[GEO_MAX_RECEPTIONS];
	double sum = 0;
	residuals(f, x, y, r);
	for (size_t i = 0; i < f->n; i++)
		sum += r[i] * r[i];
	return sum;
}

static int lm_callback(void *arg, int m, int n, const double *x, double *fvec, double *fjac, int ldfjac, int flag)
{
	const struct fit *f = arg;
	(void)m;
	(void)n;
	if (flag == 1)
		residuals(f, x[0], x[1], fvec);
	else
		jacobian(f, x[0], x[1], fjac, fjac + ldfjac);
	return isfinite(x[0]) && isfinite(x[1]) ? 0 : -1;
}

/* Levenberg-Marquardt from (x, y); false when it ran away. */
static bool descend(const struct fit *f, double *x, double *y)
{
	double at[2] = {*x, *y};
	double fvec[GEO_MAX_RECEPTIONS];
	double fjac[2 * GEO_MAX_RECEPTIONS];
	double wa[5 * 2 + GEO_MAX_RECEPTIONS];
	int ipvt[2];
	int m = (int)f->n;
	int info = lmder1(lm_callback, (void *)(uintptr_t)f, m, 2, at, fvec, fjac, m, 1e-9, ipvt, wa, 5 * 2 + m);
	if (info < 0 || !isfinite(at[0]) || !isfinite(at[1]) || hypot(at[0], at[1]) > 2 * MAX_RANGE_M)
		return false;
	*x = at[0];
	*y = at[1];
	return true;
}

/* ---- starts ---------------------------------------------------------------------------------------------------------
 */

/* Squared ranges differ linearly in position and range to a reference, taken from the frame with most receptions: a
 * 3-unknown linear system. False when it is singular. */
static bool linear_start(const struct fit *f, double *x, double *y)
{
	size_t count[GEO_MAX_FRAMES] = {0};
	size_t best = 0;
	double m[3][4] = {{0}};
	const struct geo_obs *ref = NULL;
	for (size_t i = 0; i < f->n; i++)
		if (++count[f->p->obs[f->v[i]].frame] > count[best])
			best = f->p->obs[f->v[i]].frame;
	for (size_t i = 0; i < f->n; i++) {
		const struct geo_obs *o = &f->p->obs[f->v[i]];
		if (o->frame != best)
			continue;
		if (!ref) {
			ref = o;
			continue;
		}
		double d = (double)(o->time_ns - ref->time_ns) * C_M_PER_NS;
		double dx = o->gateway.x - ref->gateway.x;
		double dy = o->gateway.y - ref->gateway.y;
		const double row[4] = {2 * dx, 2 * dy, 2 * d, dx * dx + dy * dy - d * d};
		for (int a = 0; a < 3; a++)
			for (int b = 0; b < 4; b++)
				m[a][b] += row[a] * row[b];
	}
	for (int k = 0; k < 3; k++) {
		int pivot = k;
		for (int a = k + 1; a < 3; a++)
			if (fabs(m[a][k]) > fabs(m[pivot][k]))
				pivot = a;
		for (int b = 0; b < 4; b++) {
			double swap = m[k][b];
			m[k][b] = m[pivot][b];
			m[pivot][b] = swap;
		}
		if (fabs(m[k][k]) < 1e-3)
			return false;
		for (int a = 0; a < 3; a++) {
			double factor = a == k ? 0 : m[a][k] / m[k][k];
			for (int b = 0; b < 4; b++)
				m[a][b] -= factor * m[k][b];
		}
	}
	*x = ref->gateway.x + m[0][3] / m[0][0];
	*y = ref->gateway.y + m[1][3] / m[1][1];
	return isfinite(*x) && isfinite(*y) && hypot(*x, *y) < MAX_RANGE_M;
}

struct minimum {
	double x;
	double y;
	double cost;
};

/* Keeps the best few different ones, best first. */
static void keep(struct minimum *v, size_t *n, struct minimum m)
{
	for (size_t i = 0; i < *n; i++) {
		if (hypot(v[i].x - m.x, v[i].y - m.y) < SAME_MINIMUM_M) {
			if (m.cost < v[i].cost)
				v[i] = m;
			return;
		}
	}
	if (*n == MAX_MINIMA && m.cost >= v[MAX_MINIMA - 1].cost)
		return;
	size_t k = *n < MAX_MINIMA ? (*n)++ : MAX_MINIMA - 1;
	for (; k > 0 && v[k - 1].cost > m.cost; k--)
		v[k] = v[k - 1];
	v[k] = m;
}

static void try_start(const struct fit *f, double x, double y, struct minimum *v, size_t *n)
{
	if (descend(f, &x, &y))
		keep(v, n, (struct minimum){x, y, cost(f, x, y)});
}

/* The mirror image of a point behind the line that fits the gateways best: a descent may have jumped across it. */
static void mirror(const struct fit *f, double *x, double *y)
{
	double mx = 0, my = 0, xx = 0, xy = 0, yy = 0;
	for (size_t i = 0; i < f->n; i++) {
		mx += f->p->obs[f->v[i]].gateway.x / (double)f->n;
		my += f->p->obs[f->v[i]].gateway.y / (double)f->n;
	}
	for (size_t i = 0; i < f->n; i++) {
		double dx = f->p->obs[f->v[i]].gateway.x - mx;
		double dy = f->p->obs[f->v[i]].gateway.y - my;
		xx += dx * dx;
		xy += dx * dy;
		yy += dy * dy;
	}
	double twice = atan2(2 * xy, xx - yy);
	double dx = *x - mx;
	double dy = *y - my;
	*x = mx + cos(twice) * dx + sin(twice) * dy;
	*y = my + sin(twice) * dx - cos(twice) * dy;
}

/* All minima that matter, best first. */
static size_t search(const struct fit *f, struct minimum v[MAX_MINIMA])
{
	double x0 = INFINITY, x1 = -INFINITY, y0 = INFINITY, y1 = -INFINITY;
	struct minimum starts[MAX_MINIMA];
	size_t n_starts = 0;
	size_t n = 0;
	double x, y;
	for (size_t i = 0; i < f->n; i++) {
		struct geo_point g = f->p->obs[f->v[i]].gateway;
		x0 = fmin(x0, g.x);
		x1 = fmax(x1, g.x);
		y0 = fmin(y0, g.y);
		y1 = fmax(y1, g.y);
	}
	double margin = fmax(fmax(x1 - x0, y1 - y0), 1000.0);
	double grid[GRID][GRID];
	for (int i = 0; i < GRID; i++)
		for (int j = 0; j < GRID; j++)
			grid[i][j] = cost(f, x0 - margin + (x1 - x0 + 2 * margin) * i / (GRID - 1),
					  y0 - margin + (y1 - y0 + 2 * margin) * j / (GRID - 1));
	for (int i = 0; i < GRID; i++) {
		for (int j = 0; j < GRID; j++) {
			bool low = true;
			for (int a = i > 0 ? i - 1 : 0; a <= i + 1 && a < GRID; a++)
				for (int b = j > 0 ? j - 1 : 0; b <= j + 1 && b < GRID; b++)
					low = low && grid[i][j] <= grid[a][b];
			if (low)
				keep(starts, &n_starts,
				     (struct minimum){x0 - margin + (x1 - x0 + 2 * margin) * i / (GRID - 1),
						      y0 - margin + (y1 - y0 + 2 * margin) * j / (GRID - 1),
						      grid[i][j]});
		}
	}
	if (linear_start(f, &x, &y))
		try_start(f, x, y, v, &n);
	for (size_t i = 0; i < n_starts; i++)
		try_start(f, starts[i].x, starts[i].y, v, &n);
	if (n > 0) {
		x = v[0].x;
		y = v[0].y;
		mirror(f, &x, &y);
		try_start(f, x, y, v, &n);
	}
	return n;
}

/* ---- quality --------------------------------------------------------------------------------------------------------
 */

/* Equations beyond the unknowns: a position and one time of sending for each frame. */
static int freedom(const struct fit *f)
{
	bool seen[GEO_MAX_FRAMES] = {false};
	int n = (int)f->n - 2;
	for (size_t i = 0; i < f->n; i++) {
		size_t frame = f->p->obs[f->v[i]].frame;
		n -= !seen[frame];
		seen[frame] = true;
	}
	return n;
}

/* Standard deviation of one distance: assumption and residuals together, or the residuals alone once there are some and
 * they say that the assumption was too good. */
static double sigma_m(const struct fit *f, double best_cost)
{
	int n = freedom(f);
	double both = (PRIOR_WEIGHT * PRIOR_SIGMA_M * PRIOR_SIGMA_M + best_cost) / (PRIOR_WEIGHT + n);
	return sqrt(n >= 3 ? fmax(both, best_cost / n) : both);
}

/* A deviation that is itself estimated from few residuals needs a wider radius: square root of the quantile of F(2, n)
 * over that of F(2, infinity). The assumption counts as a few residuals. */
static double small_sample(const struct fit *f)
{
	double n = freedom(f) + 3.0 * PRIOR_WEIGHT;
	return sqrt(n / 2 * (pow(0.32, -2 / n) - 1) / -log(0.32));
}

/* How much farther than the covariance says (reach) the fit stays within the contour of 68 %, along (dx, dy). Finds the
 * bent valleys and mirror images that a straight line through the minimum does not know. */
static double stretch(const struct fit *f, const struct minimum *m, double dx, double dy, double reach)
{
	double s = sigma_m(f, m->cost);
	double worst = 1;
	for (double k = 1.25; k < 100 && k * reach < MAX_RANGE_M; k *= 1.05)
		for (int side = -1; side <= 1; side += 2)
			if (cost(f, m->x + side * k * reach * dx, m->y + side * k * reach * dy) - m->cost <
			    2.28 * s * s)
				worst = k;
	return worst;
}

/* From the covariance sigma² (JᵀJ)⁻¹. Infinite when the geometry says nothing about one direction. */
static double radius(const struct fit *f, const struct minimum *m)
{
	double jx[GEO_MAX_RECEPTIONS];
	double jy[GEO_MAX_RECEPTIONS];
	double a = 0, b = 0, c = 0;
	jacobian(f, m->x, m->y, jx, jy);
	for (size_t i = 0; i < f->n; i++) {
		a += jx[i] * jx[i];
		b += jx[i] * jy[i];
		c += jy[i] * jy[i];
	}
	double mean = (a + c) / 2;
	double diff = hypot((a - c) / 2, b);
	double s = sigma_m(f, m->cost);
	if (mean - diff < 1e-9)
		return INFINITY;
	double minor = s / sqrt(mean + diff);
	double major = s / sqrt(mean - diff);
	/* The major axis: the eigenvector of JᵀJ with the smaller eigenvalue. */
	double angle = 0.5 * atan2(2 * b, a - c) + M_PI / 2;
	return geo_radius_68(minor, major) * small_sample(f) * stretch(f, m, cos(angle), sin(angle), 1.51 * major);
}

static size_t sites_of(const struct fit *f)
{
	bool seen[GEO_MAX_SITES] = {false};
	size_t n = 0;
	for (size_t i = 0; i < f->n; i++) {
		size_t site = f->p->obs[f->v[i]].site;
		n += !seen[site];
		seen[site] = true;
	}
	return n;
}

static bool solvable(const struct fit *f)
{
	return f->n >= 3 && sites_of(f) >= 3 && freedom(f) >= 0;
}

static struct fit without(const struct fit *f, size_t i)
{
	struct fit out = *f;
	memmove(out.v + i, out.v + i + 1, (out.n - i - 1) * sizeof(out.v[0]));
	out.n--;
	return out;
}

/* The residual from which on a reception is tried as the outlier, so that a large problem does not take seconds. */
static double candidate_limit(const struct fit *f, const struct minimum *m)
{
	double r[GEO_MAX_RECEPTIONS];
	double top[MAX_CANDIDATES] = {0};
	residuals(f, m->x, m->y, r);
	for (size_t i = 0; i < f->n; i++) {
		size_t k = MAX_CANDIDATES - 1;
		if (fabs(r[i]) <= top[k])
			continue;
		for (; k > 0 && top[k - 1] < fabs(r[i]); k--)
			top[k] = top[k - 1];
		top[k] = fabs(r[i]);
	}
	return top[MAX_CANDIDATES - 1];
}

/* Leaves out a reception when the others agree without it and it then lies far off; a quarter of them at most. */
static void drop_outliers(struct fit *f, struct minimum *best)
{
	size_t left = f->n / 4 < MAX_OUTLIERS ? f->n / 4 : MAX_OUTLIERS;
	for (; left > 0 && f->n > 4 && freedom(f) >= 2; left--) {
		struct minimum v[MAX_MINIMA];
		double r[GEO_MAX_RECEPTIONS];
		double limit = candidate_limit(f, best);
		residuals(f, best->x, best->y, r);
		struct minimum found = *best;
		size_t worst = f->n;
		if (best->cost / (freedom(f) + 1) < PRIOR_SIGMA_M * PRIOR_SIGMA_M * 4)
			return;
		for (size_t i = 0; i < f->n; i++) {
			if (fabs(r[i]) < limit)
				continue;
			struct fit rest = without(f, i);
			if (solvable(&rest) && search(&rest, v) > 0 && v[0].cost < found.cost) {
				found = v[0];
				worst = i;
			}
		}
		if (worst == f->n)
			return;
		struct fit rest = without(f, worst);
		double s = sigma_m(&rest, found.cost);
		/* In plain noise the largest residual is never most of the cost. */
		if (best->cost - found.cost < OUTLIER_SIGMA * OUTLIER_SIGMA * s * s || found.cost > best->cost / 4)
			return;
		*f = rest;
		*best = found;
	}
}

/* Receptions alone in their frame say nothing. */
static void select_timed(struct fit *f)
{
	size_t count[GEO_MAX_FRAMES] = {0};
	for (size_t i = 0; i < f->p->n; i++)
		count[f->p->obs[i].frame] += f->p->obs[i].has_time;
	for (size_t i = 0; i < f->p->n; i++)
		if (f->p->obs[i].has_time && count[f->p->obs[i].frame] >= 2)
			f->v[f->n++] = i;
}

int geo_tdoa(const struct geo_problem *p, struct geo_estimate *out)
{
	struct fit f = {.p = p};
	struct minimum v[MAX_MINIMA];
	select_timed(&f);
	if (!solvable(&f) || search(&f, v) == 0)
		return LW_ENOTFOUND;
	struct minimum best = v[0];
	drop_outliers(&f, &best);
	size_t n = search(&f, v);
	if (n == 0)
		return LW_ENOTFOUND;
	best = v[0];
	double r = radius(&f, &best);
	/* Another place that fits about as well (the mirror image behind a line of gateways): either may be it. */
	double s = sigma_m(&f, best.cost);
	for (size_t i = 1; i < n; i++)
		if (v[i].cost - best.cost < 4 * s * s)
			r = fmax(r, hypot(v[i].x - best.x, v[i].y - best.y));
	if (!isfinite(r) || r > MAX_RANGE_M)
		return LW_ENOTFOUND;
	*out = (struct geo_estimate){.x = best.x, .y = best.y, .radius_m = r, .used = f.n};
	return 0;
}
