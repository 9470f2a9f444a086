/* WGS 84 and the plane that touches it. */
#include <math.h>
#include <string.h>

#include "geo-server/domain/geo.h"

#define A_M 6378137.0
#define F (1.0 / 298.257223563)
#define E2 (F * (2.0 - F))
#define RADIUS_M 6371000.0
#define DEG (M_PI / 180.0)

static void to_ecef(struct geo_position p, double out[3])
{
	double lat = p.latitude * DEG;
	double lon = p.longitude * DEG;
	double n = A_M / sqrt(1.0 - E2 * sin(lat) * sin(lat));
	out[0] = (n + p.altitude_m) * cos(lat) * cos(lon);
	out[1] = (n + p.altitude_m) * cos(lat) * sin(lon);
	out[2] = (n * (1.0 - E2) + p.altitude_m) * sin(lat);
}

/* Converges to micrometres in a few rounds near the surface. */
static struct geo_position from_ecef(const double e[3])
{
	double r = hypot(e[0], e[1]);
	double lat = atan2(e[2], r * (1.0 - E2));
	double n = A_M;
	for (int i = 0; i < 6; i++) {
		n = A_M / sqrt(1.0 - E2 * sin(lat) * sin(lat));
		lat = atan2(e[2] + E2 * n * sin(lat), r);
	}
	double alt = fabs(lat) < 80.0 * DEG ? r / cos(lat) - n : e[2] / sin(lat) - n * (1.0 - E2);
	return (struct geo_position){.latitude = lat / DEG, .longitude = atan2(e[1], e[0]) / DEG, .altitude_m = alt};
}

void geo_plane_init(struct geo_plane *pl, struct geo_position origin)
{
	memset(pl, 0, sizeof(*pl));
	pl->origin = origin;
	to_ecef(origin, pl->ecef);
	pl->sin_lat = sin(origin.latitude * DEG);
	pl->cos_lat = cos(origin.latitude * DEG);
	pl->sin_lon = sin(origin.longitude * DEG);
	pl->cos_lon = cos(origin.longitude * DEG);
}

struct geo_point geo_to_plane(const struct geo_plane *pl, struct geo_position pos)
{
	double e[3];
	to_ecef(pos, e);
	for (int i = 0; i < 3; i++)
		e[i] -= pl->ecef[i];
	double horizontal = pl->cos_lon * e[0] + pl->sin_lon * e[1];
	return (struct geo_point){
		.x = -pl->sin_lon * e[0] + pl->cos_lon * e[1],
		.y = -pl->sin_lat * horizontal + pl->cos_lat * e[2],
		.z = pl->cos_lat * horizontal + pl->sin_lat * e[2],
	};
}

struct geo_position geo_from_plane(const struct geo_plane *pl, struct geo_point p)
{
	double horizontal = -pl->sin_lat * p.y + pl->cos_lat * p.z;
	const double e[3] = {
		pl->ecef[0] - pl->sin_lon * p.x + pl->cos_lon * horizontal,
		pl->ecef[1] + pl->cos_lon * p.x + pl->sin_lon * horizontal,
		pl->ecef[2] + pl->cos_lat * p.y + pl->sin_lat * p.z,
	};
	return from_ecef(e);
}

struct geo_point geo_ground(const struct geo_plane *pl, double x, double y)
{
	return (struct geo_point){.x = x, .y = y, .z = pl->device_z - (x * x + y * y) / (2.0 * RADIUS_M)};
}

double geo_distance(struct geo_point a, struct geo_point b)
{
	return sqrt((a.x - b.x) * (a.x - b.x) + (a.y - b.y) * (a.y - b.y) + (a.z - b.z) * (a.z - b.z));
}

/* Share of the distribution inside radius r: the integral over r in closed form, over the angle by sum. */
static double share_inside(double a, double b, double r)
{
	enum { STEPS = 180 };
	double sum = 0;
	for (int i = 0; i < STEPS; i++) {
		double t = (i + 0.5) * M_PI / STEPS;
		double k = cos(t) * cos(t) / (a * a) + sin(t) * sin(t) / (b * b);
		sum += (1.0 - exp(-k * r * r / 2.0)) / k;
	}
	return sum / (STEPS * a * b);
}

double geo_radius_68(double a, double b)
{
	double big = fmax(a, b);
	double small = fmax(fmin(a, b), big / 30.0);
	double low = 0;
	double high = 2.0 * big;
	if (!(big > 0))
		return 0;
	for (int i = 0; i < 40; i++) {
		double mid = (low + high) / 2.0;
		if (share_inside(big, small, mid) < 0.68)
			low = mid;
		else
			high = mid;
	}
	return high;
}
