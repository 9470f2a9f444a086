/* The methods on synthetic receptions with seeded noise: errors must lie within the stated radius about as often as it
 * says, whatever the geometry. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <string.h>
#include <time.h>

#include "common/base/rng.h"
#include "geo-server/domain/geo.h"

#define C_M_PER_NS 0.299792458

static double normal(struct lw_rng *rng)
{
	double u = 1.0 - lw_rng_unit(rng);
	return sqrt(-2.0 * log(u)) * cos(2.0 * M_PI * lw_rng_unit(rng));
}

static double uniform(struct lw_rng *rng, double a, double b)
{
	return a + (b - a) * lw_rng_unit(rng);
}

struct world {
	struct geo_plane plane;
	struct geo_position device;
	struct geo_reception r[16];
	size_t n;
};

static const struct geo_position CITY = {52.52, 13.405, 34.0};

static void world_init(struct world *w, double device_x, double device_y)
{
	memset(w, 0, sizeof(*w));
	geo_plane_init(&w->plane, CITY);
	w->device = geo_from_plane(&w->plane, geo_ground(&w->plane, device_x, device_y));
}

/* A gateway at (x, y), `height` above the ground, that hears the device; noise in ns and dB. */
static void add_gateway(struct world *w, double x, double y, double height, double noise_ns, double noise_db)
{
	struct geo_point ground = geo_ground(&w->plane, x, y);
	struct geo_point top = {ground.x, ground.y, ground.z + height};
	struct geo_point device = geo_to_plane(&w->plane, w->device);
	double d = geo_distance(top, device);
	double level = -40;
	/* The inverse of the model's expectation. */
	for (double step = 64; step > 1e-6; step /= 2)
		while (geo_log_distance(level - step, 868e6) < log10(d))
			level -= step;
	w->r[w->n++] = (struct geo_reception){
		.gateway = geo_from_plane(&w->plane, top),
		.fine_time_ns = UINT64_C(1400000000000000000) + (uint64_t)llround(d / C_M_PER_NS + noise_ns + 5000),
		.rssi_dbm = level + noise_db,
		.snr_db = 30,
	};
}

static double solve(const struct world *w, struct geo_result *out)
{
	struct geo_frame f = {.receptions = w->r, .n = w->n, .frequency_hz = 868100000, .spreading_factor = 9};
	geo_solve(&f, 1, out);
	struct geo_point a = geo_to_plane(&w->plane, out->position);
	struct geo_point b = geo_to_plane(&w->plane, w->device);
	return hypot(a.x - b.x, a.y - b.y);
}

static void test_plane_and_back(void **state)
{
	(void)state;
	struct lw_rng rng;
	lw_rng_init_seeded(&rng, 1);
	for (int i = 0; i < 2000; i++) {
		struct geo_position o = {uniform(&rng, -89.9, 89.9), uniform(&rng, -180, 180),
					 uniform(&rng, -100, 3000)};
		struct geo_plane pl;
		geo_plane_init(&pl, o);
		struct geo_point p = {uniform(&rng, -50e3, 50e3), uniform(&rng, -50e3, 50e3), uniform(&rng, -500, 500)};
		struct geo_point q = geo_to_plane(&pl, geo_from_plane(&pl, p));
		assert_true(geo_distance(p, q) < 1e-3);
	}
	/* A degree of latitude at the equator of WGS 84 is 110 574 m, one of longitude 111 320 m. */
	struct geo_plane pl;
	geo_plane_init(&pl, (struct geo_position){0, 0, 0});
	assert_true(fabs(geo_to_plane(&pl, (struct geo_position){0.01, 0, 0}).y - 1105.74) < 0.1);
	assert_true(fabs(geo_to_plane(&pl, (struct geo_position){0, 0.01, 0}).x - 1113.20) < 0.1);
}

static void test_radius_68(void **state)
{
	(void)state;
	/* Circular: sqrt(-2 ln 0.32). A line: 0.9945 deviations. */
	assert_true(fabs(geo_radius_68(1, 1) - 1.5096) < 0.002);
	assert_true(fabs(geo_radius_68(10, 0.001) - 9.945) < 0.1);
	assert_true(geo_radius_68(0, 0) == 0);
	struct lw_rng rng;
	lw_rng_init_seeded(&rng, 2);
	int inside = 0;
	double r = geo_radius_68(30, 12);
	for (int i = 0; i < 20000; i++)
		inside += hypot(30 * normal(&rng), 12 * normal(&rng)) < r;
	assert_in_range(inside, 13300, 13900);
}

struct tally {
	int inside;
	int method[4];
	double sum_error;
	double sum_radius;
};

static struct tally run_cases(uint64_t seed, size_t gateways, double noise_ns)
{
	struct lw_rng rng;
	struct tally t = {0};
	lw_rng_init_seeded(&rng, seed);
	for (int i = 0; i < 1000; i++) {
		struct world w;
		struct geo_result out;
		world_init(&w, uniform(&rng, -3000, 3000), uniform(&rng, -3000, 3000));
		for (size_t g = 0; g < gateways; g++)
			add_gateway(&w, uniform(&rng, -5000, 5000), uniform(&rng, -5000, 5000), uniform(&rng, 2, 30),
				    noise_ns * normal(&rng), 8 * normal(&rng));
		double error = solve(&w, &out);
		t.inside += error <= out.uncertainty_m;
		t.method[out.method]++;
		t.sum_error += error;
		t.sum_radius += out.uncertainty_m;
	}
	print_message(
		"%zu gateways, %.0f ns: %d of 1000 inside, mean error %.0f m, mean radius %.0f m, tdoa %d rssi %d\n",
		gateways, noise_ns, t.inside, t.sum_error / 1000, t.sum_radius / 1000, t.method[GEO_TDOA],
		t.method[GEO_RSSI]);
	return t;
}

static void test_tdoa_calibrated(void **state)
{
	(void)state;
	struct tally t = run_cases(11, 4, 100);
	assert_in_range(t.inside, 620, 800);
	t = run_cases(12, 6, 100);
	assert_in_range(t.inside, 620, 760);
	assert_true(t.method[GEO_TDOA] > 950);
	assert_true(t.sum_error / 1000 < 100);
	t = run_cases(13, 10, 100);
	assert_in_range(t.inside, 620, 760);
	/* Worse clocks than assumed: the residuals show it. */
	t = run_cases(14, 10, 400);
	assert_in_range(t.inside, 560, 760);
	/* Three: no residual is left over, only the assumption. */
	t = run_cases(15, 3, 100);
	assert_in_range(t.inside, 600, 850);
}

static void test_tdoa_exact(void **state)
{
	(void)state;
	struct world w;
	struct geo_result out;
	world_init(&w, 700, -400);
	add_gateway(&w, -2000, -1500, 20, 0, 0);
	add_gateway(&w, 2500, -1000, 0, 0, 0);
	add_gateway(&w, 300, 2800, 40, 0, 0);
	add_gateway(&w, -1500, 1800, 10, 0, 0);
	double error = solve(&w, &out);
	assert_int_equal(out.method, GEO_TDOA);
	assert_int_equal(out.receptions_used, 4);
	assert_true(error < 3);
	assert_true(out.uncertainty_m > 5 && out.uncertainty_m < 100);
}

static void test_outlier(void **state)
{
	(void)state;
	struct lw_rng rng;
	lw_rng_init_seeded(&rng, 21);
	int good = 0;
	for (int i = 0; i < 50; i++) {
		struct world w;
		struct geo_result out;
		world_init(&w, uniform(&rng, -2000, 2000), uniform(&rng, -2000, 2000));
		for (int g = 0; g < 7; g++) {
			double a = 2 * M_PI * g / 7 + uniform(&rng, -0.2, 0.2);
			add_gateway(&w, 4000 * cos(a), 4000 * sin(a), 20, 50 * normal(&rng), 8 * normal(&rng));
		}
		/* A reflection: 3 km late. */
		w.r[i % 7].fine_time_ns += 10000;
		double error = solve(&w, &out);
		good += out.method == GEO_TDOA && out.receptions_used == 6 && error < 100 && out.uncertainty_m < 200;
	}
	assert_in_range(good, 48, 50);
	/* Broken clock altogether: hours off. */
	struct world w;
	struct geo_result out;
	world_init(&w, 100, 100);
	for (int g = 0; g < 5; g++)
		add_gateway(&w, 3000 * cos(g * 1.2), 3000 * sin(g * 1.2), 20, 0, 0);
	w.r[2].fine_time_ns = 77;
	assert_true(solve(&w, &out) < 20);
	assert_int_equal(out.method, GEO_TDOA);
}

/* Frames that were each heard by two gateways only, of one device that stands still. */
static void test_several_frames(void **state)
{
	(void)state;
	struct world w;
	world_init(&w, -300, 900);
	add_gateway(&w, -2500, -1500, 20, 0, 0);
	add_gateway(&w, 2500, -1000, 20, 0, 0);
	add_gateway(&w, 300, 2800, 20, 0, 0);
	struct geo_reception v[3][2] = {{w.r[0], w.r[1]}, {w.r[1], w.r[2]}, {w.r[2], w.r[0]}};
	struct geo_frame f[3];
	for (int i = 0; i < 3; i++) {
		v[i][0].fine_time_ns += (uint64_t)i * 60000000000;
		v[i][1].fine_time_ns += (uint64_t)i * 60000000000;
		f[i] = (struct geo_frame){v[i], 2, 868300000, 7};
	}
	struct geo_result out;
	geo_solve(f, 3, &out);
	assert_int_equal(out.method, GEO_TDOA);
	assert_int_equal(out.receptions_used, 6);
	struct geo_point a = geo_to_plane(&w.plane, out.position);
	assert_true(hypot(a.x + 300, a.y - 900) < 10);
}

/* On a line the two sides cannot be told apart: the radius has to say so. */
static void test_collinear(void **state)
{
	(void)state;
	struct lw_rng rng;
	lw_rng_init_seeded(&rng, 31);
	int inside = 0;
	for (int i = 0; i < 200; i++) {
		struct world w;
		struct geo_result out;
		world_init(&w, uniform(&rng, -1500, 1500), uniform(&rng, 500, 2500));
		for (int g = -2; g <= 2; g++)
			add_gateway(&w, g * 1500, 0, 20, 100 * normal(&rng), 8 * normal(&rng));
		double error = solve(&w, &out);
		assert_true(out.uncertainty_m > 400);
		inside += error <= out.uncertainty_m;
	}
	assert_in_range(inside, 120, 200);
}

static void test_same_place(void **state)
{
	(void)state;
	struct world w;
	struct geo_result out;
	world_init(&w, 800, 0);
	for (int g = 0; g < 4; g++)
		add_gateway(&w, g, 0, 20, g, 0);
	solve(&w, &out);
	assert_int_equal(out.method, GEO_GATEWAY);
	assert_true(out.uncertainty_m > 300 && out.uncertainty_m < 20000);
}

static void test_rssi_calibrated(void **state)
{
	(void)state;
	for (size_t n = 2; n <= 6; n += 2) {
		struct lw_rng rng;
		int inside = 0;
		int rssi = 0;
		double error_sum = 0;
		lw_rng_init_seeded(&rng, 40 + n);
		for (int i = 0; i < 1000; i++) {
			struct world w;
			struct geo_result out;
			double offset = 6 * normal(&rng);
			world_init(&w, uniform(&rng, -5000, 5000), uniform(&rng, -5000, 5000));
			for (size_t g = 0; g < n; g++) {
				add_gateway(&w, uniform(&rng, -5000, 5000), uniform(&rng, -5000, 5000), 20, 0,
					    offset + 8 * normal(&rng));
				w.r[g].fine_time_ns = 0;
			}
			double error = solve(&w, &out);
			inside += error <= out.uncertainty_m;
			rssi += out.method == GEO_RSSI;
			error_sum += error;
		}
		print_message("rssi, %zu gateways: %d of 1000 inside, mean error %.0f m, rssi %d\n", n, inside,
			      error_sum / 1000, rssi);
		assert_in_range(inside, 600, 880);
		assert_int_equal(rssi, 1000);
		assert_true(error_sum / 1000 < (n == 2 ? 5000 : 3500));
	}
}

static void test_gateway_radius(void **state)
{
	(void)state;
	double last = 0;
	for (int rssi = -60; rssi >= -140; rssi -= 20) {
		struct geo_reception r = {.gateway = CITY, .rssi_dbm = rssi, .snr_db = 20};
		struct geo_frame f = {&r, 1, 868100000, 12};
		struct geo_result out;
		geo_solve(&f, 1, &out);
		assert_int_equal(out.method, GEO_GATEWAY);
		assert_true(fabs(out.position.latitude - CITY.latitude) < 1e-9);
		assert_true(fabs(out.position.longitude - CITY.longitude) < 1e-9);
		assert_true(fabs(out.position.altitude_m - CITY.altitude_m) < 1e-3);
		assert_true(out.uncertainty_m > last);
		last = out.uncertainty_m;
	}
	assert_true(last > 5000 && last < 60000);
	/* Deep in the noise counts as farther away than the RSSI, which is noise, says. */
	struct geo_reception r[2] = {{.gateway = CITY, .rssi_dbm = -115, .snr_db = 10},
				     {.gateway = CITY, .rssi_dbm = -115, .snr_db = -18}};
	struct geo_result near, far;
	geo_solve(&(struct geo_frame){&r[0], 1, 868100000, 12}, 1, &near);
	geo_solve(&(struct geo_frame){&r[1], 1, 868100000, 12}, 1, &far);
	assert_true(far.uncertainty_m > 2 * near.uncertainty_m);
}

static void test_garbage(void **state)
{
	(void)state;
	static const double weird[] = {NAN, INFINITY, -INFINITY, 1e300, -1e300, 91, -181, 0};
	struct lw_rng rng;
	struct geo_result out;
	lw_rng_init_seeded(&rng, 51);
	geo_solve(NULL, 0, &out);
	assert_int_equal(out.method, GEO_UNKNOWN);
	struct geo_frame empty = {0};
	geo_solve(&empty, 1, &out);
	assert_int_equal(out.method, GEO_UNKNOWN);
	struct geo_reception none = {.rssi_dbm = -80, .fine_time_ns = 1};
	geo_solve(&(struct geo_frame){&none, 1, 868100000, 7}, 1, &out);
	assert_int_equal(out.method, GEO_UNKNOWN);
	assert_true(strlen(out.detail) > 0);
	for (int i = 0; i < 1500; i++) {
		struct geo_reception r[8];
		for (int k = 0; k < 8; k++) {
			double v[5];
			for (int m = 0; m < 5; m++)
				v[m] = lw_rng_below(&rng, 4) == 0 ? weird[lw_rng_below(&rng, 8)]
								  : uniform(&rng, -95, 95);
			r[k] = (struct geo_reception){.gateway = {v[0], v[1], v[2]},
						      .rssi_dbm = v[3],
						      .snr_db = v[4],
						      .fine_time_ns = lw_rng_below(&rng, 2) ? lw_rng_u64(&rng) : 0};
			if (k && lw_rng_below(&rng, 2)) {
				r[k].gateway = r[0].gateway;
				r[k].gateway.latitude += uniform(&rng, -1e-3, 1e-3);
				r[k].fine_time_ns = r[0].fine_time_ns + lw_rng_below(&rng, 3000000);
			}
		}
		geo_solve(&(struct geo_frame){r, 8, lw_rng_u32(&rng), lw_rng_u32(&rng)}, 1, &out);
		if (out.method == GEO_UNKNOWN)
			continue;
		assert_true(isfinite(out.uncertainty_m) && out.uncertainty_m > 0);
		assert_true(fabs(out.position.latitude) <= 90 && fabs(out.position.longitude) <= 180);
	}
	/* More than fits. */
	static struct geo_reception many[1000];
	for (int i = 0; i < 1000; i++)
		many[i] = (struct geo_reception){.gateway = {50 + i * 1e-4, 8, 100},
						 .rssi_dbm = -100,
						 .snr_db = 5,
						 .fine_time_ns = (uint64_t)i + 1};
	geo_solve(&(struct geo_frame){many, 1000, 868100000, 7}, 1, &out);
	assert_int_not_equal(out.method, GEO_UNKNOWN);
	/* As many as fit, with times that agree on nothing: bounded work. */
	static struct geo_reception noise[GEO_MAX_FRAMES][4];
	struct geo_frame frames[GEO_MAX_FRAMES];
	for (size_t i = 0; i < GEO_MAX_FRAMES; i++) {
		for (size_t k = 0; k < 4; k++)
			noise[i][k] = (struct geo_reception){
				.gateway = {50 + uniform(&rng, 0, 0.1), 8 + uniform(&rng, 0, 0.1), 100},
				.rssi_dbm = -100,
				.fine_time_ns = 1000000 + lw_rng_below(&rng, 100000)};
		frames[i] = (struct geo_frame){noise[i], 4, 868100000, 7};
	}
	clock_t start = clock();
	geo_solve(frames, GEO_MAX_FRAMES, &out);
	assert_int_not_equal(out.method, GEO_UNKNOWN);
	assert_true(clock() - start < 5 * CLOCKS_PER_SEC);
	print_message("largest problem: %ld ms\n", (long)((clock() - start) * 1000 / CLOCKS_PER_SEC));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_plane_and_back),  cmocka_unit_test(test_radius_68),
		cmocka_unit_test(test_tdoa_exact),      cmocka_unit_test(test_tdoa_calibrated),
		cmocka_unit_test(test_outlier),         cmocka_unit_test(test_several_frames),
		cmocka_unit_test(test_collinear),       cmocka_unit_test(test_same_place),
		cmocka_unit_test(test_rssi_calibrated), cmocka_unit_test(test_gateway_radius),
		cmocka_unit_test(test_garbage),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
