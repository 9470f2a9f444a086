#include "network-server/domain/timeline.h"

#include <string.h>

#include "common/base/bug.h"

#define NS_PER_US 1000LL
#define BUCKET_NS (NS_DUTY_BUCKET_S * 1000000000LL)
#define HOUR_BUCKETS (NS_DUTY_WINDOW_S / NS_DUTY_BUCKET_S)

_Static_assert(NS_DUTY_BUCKETS >= HOUR_BUCKETS + 2 + NS_TIMELINE_AHEAD_NS / BUCKET_NS, "the ring holds the hour");

static int64_t end_of(const struct ns_emission *e)
{
	return e->start_ns + e->airtime_us * NS_PER_US;
}

static unsigned ring(int64_t bucket)
{
	return (unsigned)(bucket % NS_DUTY_BUCKETS);
}

static void clear_up_to(struct ns_timeline *t, int64_t bucket)
{
	if (bucket <= t->bucket)
		return;
	int64_t from = bucket - t->bucket >= NS_DUTY_BUCKETS ? bucket - NS_DUTY_BUCKETS + 1 : t->bucket + 1;
	for (int64_t b = from; b <= bucket; b++)
		for (unsigned i = 0; i < NS_TIMELINE_BANDS; i++)
			t->use[i].us[ring(b)] = 0;
	t->bucket = bucket;
}

void ns_timeline_advance(struct ns_timeline *t, int64_t now_ns)
{
	t->now_bucket = now_ns / BUCKET_NS;
	clear_up_to(t, t->now_bucket);
	for (unsigned i = 0; i < NS_TIMELINE_SLOTS; i++)
		if (t->slot[i].id != 0 && end_of(&t->slot[i]) + NS_TIMELINE_GUARD_NS <= now_ns)
			t->slot[i].id = 0;
}

const struct ns_emission *ns_timeline_conflict(const struct ns_timeline *t, int64_t start_ns, uint32_t airtime_us)
{
	int64_t end_ns = start_ns + airtime_us * NS_PER_US;
	for (unsigned i = 0; i < NS_TIMELINE_SLOTS; i++) {
		const struct ns_emission *e = &t->slot[i];
		if (e->id != 0 && start_ns < end_of(e) + NS_TIMELINE_GUARD_NS &&
		    e->start_ns < end_ns + NS_TIMELINE_GUARD_NS)
			return e;
	}
	return NULL;
}

int64_t ns_timeline_first_free(const struct ns_timeline *t, int64_t from_ns, uint32_t airtime_us)
{
	/* Each turn passes one planned transmission for good, so there are at most NS_TIMELINE_SLOTS. */
	const struct ns_emission *e;
	while ((e = ns_timeline_conflict(t, from_ns, airtime_us)) != NULL)
		from_ns = end_of(e) + NS_TIMELINE_GUARD_NS;
	return from_ns;
}

static const struct ns_band_use *find_use(const struct ns_timeline *t, const struct lw_sub_band *band)
{
	for (unsigned i = 0; i < NS_TIMELINE_BANDS; i++)
		if (t->use[i].band == band)
			return &t->use[i];
	return NULL;
}

/* Of the hours that now or anything planned lies in. What began in the bucket before may reach into the first. */
static uint64_t sum(const struct ns_timeline *t, const struct ns_band_use *u)
{
	uint64_t n = 0;
	int64_t first = t->now_bucket - HOUR_BUCKETS - 1;
	for (int64_t b = first < 0 ? 0 : first; b <= t->bucket; b++)
		n += u->us[ring(b)];
	return n;
}

/* The band's ledger; a gateway that was moved to another region forgets the band that it used least. */
static struct ns_band_use *use_of(struct ns_timeline *t, const struct lw_sub_band *band)
{
	struct ns_band_use *least = &t->use[0];
	for (unsigned i = 0; i < NS_TIMELINE_BANDS; i++) {
		if (t->use[i].band == band)
			return &t->use[i];
		if (t->use[i].band == NULL) {
			t->use[i].band = band;
			return &t->use[i];
		}
		if (sum(t, &t->use[i]) < sum(t, least))
			least = &t->use[i];
	}
	memset(least, 0, sizeof(*least));
	least->band = band;
	return least;
}

uint64_t ns_timeline_used_us(const struct ns_timeline *t, const struct lw_sub_band *band)
{
	const struct ns_band_use *u = band != NULL ? find_use(t, band) : NULL;
	return u != NULL ? sum(t, u) : 0;
}

uint64_t ns_timeline_hour_us(const struct ns_timeline *t)
{
	uint64_t n = 0;
	for (unsigned i = 0; i < NS_TIMELINE_BANDS; i++)
		n += sum(t, &t->use[i]);
	return n;
}

uint64_t ns_timeline_recent_us(const struct ns_timeline *t)
{
	uint64_t n = 0;
	for (unsigned i = 0; i < NS_TIMELINE_BANDS; i++)
		n += (uint64_t)t->use[i].us[ring(t->bucket)] + t->use[i].us[ring(t->bucket + NS_DUTY_BUCKETS - 1)];
	return n;
}

bool ns_timeline_duty_ok(const struct ns_timeline *t, const struct lw_sub_band *band, uint32_t airtime_us,
			 unsigned percent)
{
	if (band == NULL || band->duty_permille >= 1000)
		return true;
	/* permille of an hour in microseconds, of that the percentage. */
	uint64_t allowed_us = (uint64_t)NS_DUTY_WINDOW_S * 1000 * band->duty_permille * percent / 100;
	return ns_timeline_used_us(t, band) + airtime_us <= allowed_us;
}

unsigned ns_timeline_depth(const struct ns_timeline *t)
{
	unsigned n = 0;
	for (unsigned i = 0; i < NS_TIMELINE_SLOTS; i++)
		n += t->slot[i].id != 0;
	return n;
}

bool ns_timeline_plan(struct ns_timeline *t, uint32_t id, int64_t start_ns, uint32_t airtime_us,
		      const struct lw_sub_band *band)
{
	BUG_ON(id == 0 || start_ns / BUCKET_NS > t->now_bucket + NS_TIMELINE_AHEAD_NS / BUCKET_NS);
	if (band != NULL) {
		clear_up_to(t, start_ns / BUCKET_NS);
		use_of(t, band)->us[ring(start_ns / BUCKET_NS)] += airtime_us;
	}
	for (unsigned i = 0; i < NS_TIMELINE_SLOTS; i++) {
		if (t->slot[i].id != 0)
			continue;
		t->slot[i] =
			(struct ns_emission){.id = id, .airtime_us = airtime_us, .start_ns = start_ns, .band = band};
		return true;
	}
	return false;
}

void ns_timeline_release(struct ns_timeline *t, uint32_t id)
{
	for (unsigned i = 0; i < NS_TIMELINE_SLOTS; i++) {
		struct ns_emission *e = &t->slot[i];
		if (e->id != id || id == 0)
			continue;
		int64_t bucket = e->start_ns / BUCKET_NS;
		if (e->band != NULL && bucket > t->bucket - NS_DUTY_BUCKETS) {
			uint32_t *us = &use_of(t, e->band)->us[ring(bucket)];
			*us -= *us < e->airtime_us ? *us : e->airtime_us;
		}
		e->id = 0;
		return;
	}
}

void ns_timeline_rtt(struct ns_timeline *t, uint32_t rtt_ms)
{
	t->rtt_ms[t->next_rtt] = rtt_ms < UINT16_MAX ? (uint16_t)rtt_ms : UINT16_MAX;
	t->next_rtt = (uint8_t)((t->next_rtt + 1) % NS_RTT_SAMPLES);
	if (t->n_rtt < NS_RTT_SAMPLES)
		t->n_rtt++;
}

int ns_timeline_rtt_p90_ms(const struct ns_timeline *t)
{
	if (t->n_rtt < NS_RTT_MIN_SAMPLES)
		return -1;
	/* The smallest sample that at least nine tenths do not exceed. */
	unsigned need = (t->n_rtt * 9U + 9) / 10;
	uint16_t best = UINT16_MAX;
	for (unsigned i = 0; i < t->n_rtt; i++) {
		unsigned n = 0;
		for (unsigned k = 0; k < t->n_rtt; k++)
			n += t->rtt_ms[k] <= t->rtt_ms[i];
		if (n >= need && t->rtt_ms[i] < best)
			best = t->rtt_ms[i];
	}
	return best;
}

int64_t ns_timeline_lead_ns(const struct ns_timeline *t)
{
	int p90_ms = ns_timeline_rtt_p90_ms(t);
	return p90_ms < 0 ? NS_TIMELINE_LEAD_NS : p90_ms * 1000000LL + NS_TIMELINE_PREPARE_NS;
}
