/* Positions from receptions. Pure: no I/O, clock, allocation, global.
 *
 * Every method states a radius that holds the device with a probability of about 68 %, from a model of its errors; what
 * the models assume stands in their files. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define GEO_MAX_RECEPTIONS 256 /* used of one device; more are ignored */
#define GEO_MAX_FRAMES 64
#define GEO_MAX_SITES 64 /* distinct gateway positions */

/* WGS 84, degrees and metres. */
struct geo_position {
	double latitude;
	double longitude;
	double altitude_m;
};

struct geo_reception {
	struct geo_position gateway;
	uint64_t fine_time_ns; /* 0: none */
	double rssi_dbm;
	double snr_db;
};

struct geo_frame {
	const struct geo_reception *receptions;
	size_t n;
	uint32_t frequency_hz;
	uint32_t spreading_factor; /* 0: not LoRa */
};

/* Order of the protobuf enum. */
enum geo_method { GEO_UNKNOWN, GEO_TDOA, GEO_RSSI, GEO_GATEWAY };

struct geo_result {
	enum geo_method method;
	struct geo_position position;
	double uncertainty_m;
	uint32_t receptions_used;
	char detail[96]; /* why it is this method, for people */
};

/* Anything may be wrong in the frames; what cannot be used is left out. */
void geo_solve(const struct geo_frame *frames, size_t n, struct geo_result *out);

/* ---- what the methods share ----------------------------------------------------------------------------------------
 */

/* A point in the plane that touches the earth at an origin: metres east, north, and up. */
struct geo_point {
	double x;
	double y;
	double z;
};

struct geo_plane {
	struct geo_position origin;
	double ecef[3];
	double sin_lat, cos_lat, sin_lon, cos_lon;
	double device_z; /* height that the device is assumed to have at the origin */
};

/* A usable reception in the plane. */
struct geo_obs {
	struct geo_point gateway;
	size_t frame;
	size_t site;       /* gateways within 10 m are one site */
	int64_t time_ns;   /* since the frame's first one; only when has_time */
	double signal_dbm; /* of the wanted signal alone */
	double frequency_hz;
	uint32_t spreading_factor;
	uint8_t has_time;
};

struct geo_problem {
	struct geo_plane plane;
	struct geo_obs obs[GEO_MAX_RECEPTIONS];
	size_t n;
	size_t n_frames;
	struct geo_point site[GEO_MAX_SITES];
	size_t n_sites;
};

/* Collects what is usable: finite positions within range (0, 0, 0 is "not set"), at least a signal strength. */
void geo_problem_init(struct geo_problem *p, const struct geo_frame *frames, size_t n);
void geo_plane_init(struct geo_plane *pl, struct geo_position origin);
struct geo_point geo_to_plane(const struct geo_plane *pl, struct geo_position pos);
struct geo_position geo_from_plane(const struct geo_plane *pl, struct geo_point p);
/* The point at (x, y) at the assumed height above the curved ground. */
struct geo_point geo_ground(const struct geo_plane *pl, double x, double y);
double geo_distance(struct geo_point a, struct geo_point b);

/* Estimate in the plane. */
struct geo_estimate {
	double x;
	double y;
	double radius_m;
	size_t used;
};

/* Each returns 0, or LW_ENOTFOUND when the method cannot say anything. */
int geo_tdoa(const struct geo_problem *p, struct geo_estimate *out);
int geo_rssi(const struct geo_problem *p, struct geo_estimate *out);
int geo_gateway(const struct geo_problem *p, struct geo_estimate *out);

/* Radius around the mean of a two-dimensional normal distribution that holds 68 %; a and b are the standard deviations
 * along its axes. */
double geo_radius_68(double a, double b);

/* ---- path loss ------------------------------------------------------------------------------------------------------
 */

/* log10 of the distance in metres at which a signal of that strength is expected, and the standard deviation of that
 * logarithm for one link. */
double geo_log_distance(double signal_dbm, double frequency_hz);
/* Farthest distance at which a frame of that spreading factor is expected to be received, metres. */
double geo_max_distance(double frequency_hz, uint32_t spreading_factor);
