/* Compares every regional table, row by row, with tests/vectors/regions/regions.tsv: facts gathered from several
 * implementations (columns: region table key subkey value unit sources note). What is meant to differ stands in
 * differences.tsv with its reason, and only that (columns: region table key subkey versions ours reason; the first five
 * are patterns). Its rows of a table "reference …" say where the facts and we differ from the reference, those of the
 * table "config" belong to the test of region configurations. */
#include "tests/unit/common/lorawan/vectors.h"

#include <fnmatch.h>

#include "common/base/err.h"
#include "common/lorawan/adr_mask.h"
#include "common/lorawan/region.h"

#define REGION v->field[0]
#define TABLE v->field[1]
#define KEY v->field[2]
#define SUBKEY v->field[3]
#define VALUE v->field[4]
#define UNIT v->field[5]
#define NOTE v->field[7]
#define TEXT 160
#define NOTHING "none"
#define REFERENCE "reference "

/* ---- the intended differences ---- */

struct difference {
	char pattern[5][TEXT]; /* region, table, key, subkey, versions; "" matches anything */
	char ours[TEXT];
	unsigned line;
	unsigned used;
};

static struct difference differences[128];
static size_t n_differences;

static int load_differences(void **state)
{
	struct vec vector;
	struct vec *v = &vector;
	(void)state;
	for (vec_open(v, "tests/vectors/regions/differences.tsv"); vec_next(v);) {
		if (v->n != 7 || v->field[6][0] == '\0')
			fail_msg("differences.tsv:%u: seven columns, the last says why", v->number);
		if (strcmp(TABLE, "config") == 0 || strncmp(TABLE, REFERENCE, strlen(REFERENCE)) == 0)
			continue;
		assert_true(n_differences < sizeof(differences) / sizeof(differences[0]));
		struct difference *d = &differences[n_differences++];
		for (size_t i = 0; i < 5; i++)
			(void)snprintf(d->pattern[i], TEXT, "%s", v->field[i]);
		(void)snprintf(d->ours, TEXT, "%s", v->field[5]);
		d->line = v->number;
	}
	return 0;
}

static bool is_intended(const char *const fact[5], const char *ours)
{
	bool found = false;
	for (size_t i = 0; i < n_differences; i++) {
		struct difference *d = &differences[i];
		bool matches = strcmp(d->ours, ours) == 0;
		for (size_t k = 0; matches && k < 5; k++)
			matches = d->pattern[k][0] == '\0' || fnmatch(d->pattern[k], fact[k], 0) == 0;
		d->used += matches;
		found = found || matches;
	}
	return found;
}

static unsigned mismatches;

static void compare(const struct vec *v, const char *versions, const char *expected, const char *ours)
{
	const char *fact[5] = {REGION, TABLE, KEY, SUBKEY, versions};
	if (strcmp(expected, ours) == 0 || is_intended(fact, ours))
		return;
	print_message("regions.tsv:%u: %s %s %s %s %s: %s, not %s\n", v->number, REGION, TABLE, KEY, SUBKEY, versions,
		      ours, expected);
	mismatches++;
}

/* ---- what our tables say, in the words of the facts ---- */

static unsigned number(const char *text)
{
	char *end;
	unsigned long n = strtoul(text, &end, 10);
	assert_ptr_not_equal(end, text);
	return (unsigned)n;
}

static const struct {
	const char *text;
	enum lw_reg_params rp;
} revisions[] = {
	{"A", LW_RP_A},
	{"B", LW_RP_B},
	{"RP2-1.0.0", LW_RP_002_1_0_0},
	{"RP2-1.0.1", LW_RP_002_1_0_1},
	{"RP2-1.0.2", LW_RP_002_1_0_2},
	{"RP2-1.0.3", LW_RP_002_1_0_3},
	{"RP2-1.0.4", LW_RP_002_1_0_4},
	{"RP2-1.0.5", LW_RP_002_1_0_5},
	{"newest", LW_RP_002_1_0_5},
};

static enum lw_reg_params revision_of(const char *text)
{
	for (size_t i = 0; i < sizeof revisions / sizeof revisions[0]; i++)
		if (strcmp(revisions[i].text, text) == 0)
			return revisions[i].rp;
	fail_msg("unknown revision %s", text);
	return LW_RP_A;
}

/* The versions "1.0.2:A" of a row; without any, the newest. */
static void versions_of(const struct vec *v, enum lw_mac_version *mac, enum lw_reg_params *rp)
{
	char text[TEXT];
	char *rev = text;
	*mac = LW_MAC_1_0_4;
	*rp = LW_RP_002_1_0_5;
	if (NOTE[0] != '1')
		return;
	(void)snprintf(text, sizeof(text), "%s", NOTE);
	const char *mac_text = strsep(&rev, ":");
	assert_int_equal(lw_mac_version_parse(mac_text, mac), 0);
	*rp = revision_of(rev);
}

static void say(char out[TEXT], const char *format, ...) __attribute__((format(printf, 2, 3)));
static void say(char out[TEXT], const char *format, ...)
{
	va_list args;
	va_start(args, format);
	(void)vsnprintf(out, TEXT, format, args);
	va_end(args);
}

static void say_modulation(const struct lw_modulation *m, char out[TEXT])
{
	if (!m)
		say(out, NOTHING);
	else if (m->kind == LW_MOD_FSK)
		say(out, "FSK%u", (unsigned)m->bitrate_bps);
	else if (m->kind == LW_MOD_LRFHSS)
		say(out, "LRFHSS %s %u", m->cr == LW_CR_2_6 ? "1/3" : "2/3", (unsigned)(m->bw_hz / 1000));
	else
		say(out, "SF%u/%u%s", m->sf, (unsigned)(m->bw_hz / 1000), m->cr == LW_CR_LI_4_8 ? " CR4/8LI" : "");
}

static void say_rx1_dr(const struct lw_region *r, const struct vec *v, char out[TEXT])
{
	unsigned up;
	unsigned offset;
	enum lw_mac_version mac;
	enum lw_reg_params rp;
	versions_of(v, &mac, &rp);
	r = lw_region_revision(r, mac, rp);
	assert_int_equal(sscanf(KEY, "up DR%u", &up), 1);
	assert_int_equal(sscanf(SUBKEY, "offset %u", &offset), 1);
	int dr = lw_region_rx1_dr(r, up, offset, strstr(SUBKEY, "dwell=true") != NULL);
	if (strstr(SUBKEY, "dwell=any"))
		assert_int_equal(dr, lw_region_rx1_dr(r, up, offset, true));
	if (dr < 0)
		say(out, NOTHING);
	else
		say(out, "%d", dr);
}

static void say_hop(const struct lw_hop *h, char out[TEXT])
{
	if (h->count > 1)
		say(out, "%u+%u*n n=0..%d", (unsigned)h->base_hz, (unsigned)h->step_hz, h->count - 1);
	else
		say(out, "%u", (unsigned)h->base_hz);
}

static unsigned channels(const struct lw_channel_run *run, size_t n)
{
	unsigned count = 0;
	for (size_t i = 0; i < n; i++)
		count += run[i].count;
	return count;
}

static uint32_t channel_hz(const struct lw_channel_run *run, size_t n, unsigned index)
{
	for (size_t i = 0; i < n; i++)
		if (index >= run[i].first && index < run[i].first + (unsigned)run[i].count)
			return run[i].first_hz + (index - run[i].first) * run[i].step_hz;
	return 0;
}

/* Texts that describe a rule: returned as they are when ours obeys it. */
static void say_rule(const struct lw_region *r, const struct vec *v, char out[TEXT])
{
	unsigned mod;
	bool up;
	bool down;
	bool ok = false;
	if (strcmp(KEY, "rx1_channel") == 0) {
		const char *at = strstr(VALUE, "mod ");
		if (strstr(VALUE, "same frequency"))
			ok = r->rx1_rule == LW_RX1_SAME_FREQUENCY;
		else if (at && sscanf(at, "mod %u", &mod) == 1)
			ok = r->rx1_rule == LW_RX1_INDEX_MODULO && channels(r->down, r->n_down) == mod;
		else
			ok = strcmp(VALUE, "same index") == 0 && r->rx1_rule == LW_RX1_INDEX_MODULO &&
			     channels(r->down, r->n_down) == channels(r->up, r->n_up);
	} else if (strcmp(KEY, "dwell") == 0) {
		lw_region_boot_dwell(r, LW_MAC_1_0_4, LW_RP_002_1_0_5, &up, &down);
		if (strstr(VALUE, "TxParamSetupReq"))
			ok = strstr(VALUE, "UplinkDwellTime=1 DownlinkDwellTime=0") && r->tx_param_setup && up && !down;
		else
			ok = !up && !down;
	} else if (strcmp(KEY, "cs_downlink_eirp") == 0 && strstr(VALUE, " if ")) {
		unsigned high;
		unsigned from;
		unsigned to;
		unsigned low;
		assert_int_equal(sscanf(VALUE, "%u if %u<=f<%u else %u", &high, &from, &to, &low), 4);
		ok = lw_region_downlink_eirp_dbm(r, from) == (int)high &&
		     lw_region_downlink_eirp_dbm(r, to - 1) == (int)high &&
		     lw_region_downlink_eirp_dbm(r, from - 1) == (int)low &&
		     lw_region_downlink_eirp_dbm(r, to) == (int)low;
	}
	say(out, "%s", ok ? VALUE : "otherwise");
}

static void say_param(const struct lw_region *r, const struct vec *v, char out[TEXT])
{
	enum lw_mac_version mac;
	enum lw_reg_params rp;
	struct lw_tx_power power;
	versions_of(v, &mac, &rp);
	lw_region_tx_power(r, mac, rp, &power);
	const struct {
		const char *key;
		double value;
	} numbers[] = {
		{"freq_min", r->min_hz},
		{"freq_max", r->max_hz},
		{"freq_step_in_24bit_fields", r->step_hz},
		{"default_max_eirp_device", r->device_eirp_cdbm / 100.0},
		{"rx2_frequency", r->rx2_hz},
		{"rx2_frequency_abp", lw_region_abp_rx2_hz(r)},
		{"rx2_frequency_otaa", r->rx2_hz},
		{"rx2_dr", r->rx2_dr},
		{"receive_delay1", r->rx1_delay_s},
		{"receive_delay2", r->rx1_delay_s + 1},
		{"join_accept_delay1", r->join_accept_delay1_s},
		{"join_accept_delay2", r->join_accept_delay2_s},
		{"max_fcnt_gap", r->max_fcnt_gap},
		{"cs_min_ul_dr", r->adr_min_dr},
		{"cs_max_ul_dr", r->adr_max_dr},
		{"tts_max_adr_dr", r->adr_max_dr},
		{"beacon_dr", r->beacon.dr},
		{"ping_slot_dr", r->ping_slot.dr},
		{"max_rx1_dr_offset", r->max_rx1_dr_offset},
		{"max_tx_power_index", power.max_index},
		{"cs_downlink_eirp", lw_region_downlink_eirp_dbm(r, r->rx2_hz)},
	};
	say(out, NOTHING);
	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
		if (strcmp(KEY, numbers[i].key) == 0)
			say(out, "%.12g", numbers[i].value);
	/* The plans of 20 MHz: test_region_revisions.c. */
	if (strncmp(REGION, "CN470-20", 8) == 0 &&
	    strstr("rx2_frequency_otaa beacon_frequency ping_slot_frequency", KEY))
		say(out, "%s", VALUE);
	else if (strcmp(KEY, "beacon_frequency") == 0)
		say_hop(&r->beacon, out);
	else if (strcmp(KEY, "ping_slot_frequency") == 0)
		say_hop(&r->ping_slot, out);
	else if (strcmp(KEY, "cflist") == 0)
		say(out, r->cflist_type == LW_CFLIST_MASKS ? "channel-mask (CFListType 1)"
							   : "frequency list (CFListType 0)");
	else if (strcmp(KEY, "tx_param_setup_req") == 0)
		say(out, lw_region_tx_param_setup(r, mac, rp) ? "yes" : "no");
	else if (strcmp(KEY, "new_channel_req") == 0)
		say(out, r->user_channels ? "yes" : "no");
	else if (strcmp(KEY, "rx1_channel") == 0 || strcmp(KEY, "dwell") == 0 ||
		 (strcmp(KEY, "cs_downlink_eirp") == 0 && strstr(VALUE, " if ")))
		say_rule(r, v, out);
}

static void say_sub_band(const struct lw_region *r, const struct vec *v, char out[TEXT])
{
	const struct lw_sub_band *b = lw_region_sub_band(r, number(VALUE));
	if (!b) {
		say(out, NOTHING);
		return;
	}
	assert_ptr_equal(lw_region_sub_band(r, b->max_hz - 1), b);
	assert_ptr_not_equal(lw_region_sub_band(r, b->max_hz), b);
	say(out, "%u-%u duty=%.4g", (unsigned)b->min_hz, (unsigned)b->max_hz, b->duty_permille / 1000.0);
	if (UNIT[0] != '\0')
		say(out + strlen(out), " max EIRP %.4g dBm", b->max_eirp_cdbm / 100.0);
}

static void say_tx_power(const struct lw_region *r, const struct vec *v, enum lw_mac_version mac, enum lw_reg_params rp,
			 char out[TEXT])
{
	struct lw_tx_power p;
	unsigned index = number(KEY);
	lw_region_tx_power(r, mac, rp, &p);
	if (index > p.max_index)
		say(out, NOTHING);
	else if (strstr(UNIT, "MaxEIRP"))
		say(out, "%d dB rel. MaxEIRP", p.db[index]);
	else
		say(out, "%d dB rel. %d dBm", p.db[index], p.eirp_cdbm / 100);
}

static void say_channel(const struct lw_region *r, const struct vec *v, char out[TEXT])
{
	struct lw_plan plan;
	struct lw_channel c = {0};
	uint32_t hz = 0;
	unsigned index = number(KEY);
	lw_plan_init(&plan, r);
	bool has = lw_plan_channel(&plan, index, &c) == 0;
	if (strcmp(TABLE, "uplink_channel") == 0) {
		unsigned min;
		unsigned max;
		const char *rates = strstr(NOTE, "DR");
		assert_non_null(rates);
		assert_int_equal(sscanf(rates, "DR%u-%u", &min, &max), 2);
		hz = has ? c.hz : 0;
		if (has &&
		    (c.min_dr != min || c.max_dr != max || lw_plan_channel_index(&plan, c.hz, min) != (int)index))
			hz = 1;
	} else if (strcmp(TABLE, "rx1_channel_for_uplink_channel") == 0) {
		assert_int_equal(lw_plan_rx1_hz(&plan, c.hz, c.min_dr, &hz), 0);
		assert_int_equal(hz, channel_hz(r->down, r->n_down, number(SUBKEY)));
	} else if (r->rx1_rule == LW_RX1_INDEX_MODULO) {
		hz = channel_hz(r->down, r->n_down, index);
	} else if (has) {
		assert_int_equal(lw_plan_rx1_hz(&plan, c.hz, c.min_dr, &hz), 0);
	}
	if (hz == 0)
		say(out, NOTHING);
	else
		say(out, "%u", (unsigned)hz);
}

static void say_join_channel(const struct lw_region *r, const struct vec *v, char out[TEXT])
{
	/* The channels are numbered through all plans. */
	static const unsigned first[] = {0, 8, 10, 15};
	unsigned index = number(KEY);
	for (size_t i = 4; i-- > 0;) {
		if (index >= first[i]) {
			index -= first[i];
			break;
		}
	}
	assert_true(index < r->n_join_channels);
	const struct lw_join_channel *c = &r->join_channels[index];
	assert_ptr_equal(lw_region_join_channel(r, c->hz), c);
	say(out, "%u",
	    (unsigned)(strcmp(SUBKEY, "uplink") == 0         ? c->hz
		       : strcmp(SUBKEY, "rx1_downlink") == 0 ? c->rx1_hz
							     : c->rx2_hz));
}

/* What ChMaskCntl does, found out by doing it. */
static void say_mask_control(const struct lw_region *r, const struct vec *v, char out[TEXT])
{
	struct lw_plan plan;
	struct lw_adr_mask m = {.cntl = (uint8_t)number(KEY)};
	uint16_t state[LW_PLAN_WORDS];
	unsigned first;
	unsigned last;
	bool ok = true;
	const char *from = VALUE + strcspn(VALUE, "0123456789");
	lw_plan_init(&plan, r);
	for (unsigned all = 0; all < 2; all++) {
		uint16_t none[LW_PLAN_WORDS] = {0};
		const uint16_t *before = all ? plan.enabled : none;
		memcpy(state, before, sizeof(state));
		if (strstr(VALUE, "ON (ChMask ignored)") || strcmp(VALUE, "all channels ON") == 0) {
			ok = ok && lw_adr_mask_apply(&plan, &m, state) == 0 &&
			     !memcmp(state, plan.enabled, sizeof state);
		} else if (strcmp(VALUE, "all channels OFF") == 0) {
			ok = ok && lw_adr_mask_apply(&plan, &m, state) == 0 && !memcmp(state, none, sizeof state);
		} else if (strstr(VALUE, "bits 0-7")) {
			uint16_t rest = strstr(VALUE, "all 125 kHz ON") ? 0xffff : 0;
			m.mask = 0x5a;
			ok = ok && lw_adr_mask_apply(&plan, &m, state) == 0 && state[4] == 0x5a;
			for (unsigned b = 0; b < 4; b++)
				ok = ok && state[b] == (strstr(VALUE, "all 125") ? rest : before[b]);
		} else if (strstr(VALUE, "bit b (0-7)")) {
			m.mask = 0x81;
			ok = ok && lw_adr_mask_apply(&plan, &m, state) == 0 && state[0] == 0x00ff && state[1] == 0 &&
			     state[2] == 0 && state[3] == 0xff00 && state[4] == 0x81;
		} else if (sscanf(from, "%u-%u", &first, &last) == 2) {
			m.mask = (uint16_t)(plan.enabled[first / 16] & 0xa5a5);
			ok = ok && last == first + 15 && lw_adr_mask_apply(&plan, &m, state) == 0;
			for (unsigned b = 0; b < LW_PLAN_WORDS; b++)
				ok = ok && state[b] == (b == first / 16 ? m.mask : before[b]);
		} else {
			ok = false;
		}
	}
	say(out, "%s", ok ? VALUE : "otherwise");
}

/* ---- rows ---- */

static void check_payload(const struct lw_region *r, const struct vec *v, enum lw_mac_version mac, const char *rev,
			  const char *versions)
{
	bool repeater = strstr(SUBKEY, "repeater=true") != NULL;
	enum lw_dir dir = strcmp(TABLE, "max_payload_uplink") == 0 ? LW_UP : LW_DOWN;
	unsigned dr;
	assert_int_equal(sscanf(KEY, "DR%u", &dr), 1);
	for (int dwell = 0; dwell < 2; dwell++) {
		struct lw_max_payload got = {0};
		char ours[TEXT];
		if (strstr(SUBKEY, dwell ? "dwell=false" : "dwell=true"))
			continue;
		const struct lw_region *own = lw_region_revision(r, mac, revision_of(rev));
		int err = lw_region_max_payload(own, dir, mac, revision_of(rev), repeater, dwell != 0, dr, &got);
		assert_true(err == 0 || err == LW_ENOTFOUND);
		say(ours, "%u/%u", got.m, got.n);
		compare(v, versions, VALUE, ours);
	}
}

/* The note names the versions: "1.0.2:A+B | 1.0.4:RP2-1.0.0+RP2-1.0.1". */
static void check_payload_row(const struct lw_region *r, const struct vec *v)
{
	char note[1024];
	(void)snprintf(note, sizeof note, "%s", NOTE);
	char *rest = note;
	for (char *part; (part = strsep(&rest, "|"));) {
		part += strspn(part, " ");
		char *revs = part;
		const char *mac_text = strsep(&revs, ":");
		assert_non_null(revs);
		revs[strcspn(revs, " ")] = '\0';
		if (strcmp(mac_text, "later MACs") == 0)
			mac_text = "1.0.4";
		enum lw_mac_version mac;
		assert_int_equal(lw_mac_version_parse(mac_text, &mac), 0);
		for (char *rev; (rev = strsep(&revs, "+"));) {
			char versions[TEXT];
			say(versions, "%s:%s", mac_text, rev);
			check_payload(r, v, mac, rev, versions);
		}
	}
}

static const struct lw_region *region_of(const char *name)
{
	if (strcmp(name, "CN470-20A") == 0 || strcmp(name, "CN470-RP002") == 0)
		return lw_region_by_id(LW_REGION_CN470_20A_0);
	if (strcmp(name, "CN470-20B") == 0)
		return lw_region_by_id(LW_REGION_CN470_20B_0);
	return lw_region_by_name(name);
}

static void check_row(const struct lw_region *r, const struct vec *v)
{
	char ours[TEXT] = NOTHING;
	char expected[TEXT];
	say(expected, "%s", VALUE);
	if (!r) {
		compare(v, "", expected, ours);
		return;
	}
	if (strncmp(TABLE, "max_payload_", 12) == 0) {
		check_payload_row(r, v);
		return;
	}
	if (strcmp(TABLE, "dr") == 0) {
		enum lw_mac_version mac;
		enum lw_reg_params rp;
		versions_of(v, &mac, &rp);
		say_modulation(lw_region_dr(lw_region_revision(r, mac, rp),
					    strcmp(SUBKEY, "down") == 0 ? LW_DOWN : LW_UP, number(KEY)),
			       ours);
	} else if (strcmp(TABLE, "dr_legacy_1.0.1_1.0.2A") == 0) {
		say_modulation(lw_region_dr(lw_region_revision(r, LW_MAC_1_0_1, LW_RP_A), LW_UP, number(KEY)), ours);
		compare(v, "1.0.1:A", expected, ours);
		say_modulation(lw_region_dr(lw_region_revision(r, LW_MAC_1_0_2, LW_RP_A), LW_UP, number(KEY)), ours);
		compare(v, "1.0.2:A", expected, ours);
		return;
	} else if (strcmp(TABLE, "rx1_dr") == 0) {
		say_rx1_dr(r, v, ours);
	} else if (strcmp(TABLE, "param") == 0) {
		say_param(r, v, ours);
	} else if (strncmp(TABLE, "subband", 7) == 0) {
		say(expected, "%s %s%s%s", VALUE, SUBKEY, UNIT[0] ? " " : "", UNIT);
		say_sub_band(r, v, ours);
	} else if (strncmp(TABLE, "tx_power", 8) == 0) {
		say(expected, "%s %s", VALUE, UNIT);
		if (strcmp(TABLE, "tx_power_1.0.1_1.0.2A") == 0) {
			say_tx_power(r, v, LW_MAC_1_0_1, LW_RP_A, ours);
			compare(v, "1.0.1:A", expected, ours);
		}
		bool old = TABLE[8] != '\0';
		say_tx_power(r, v, old ? LW_MAC_1_0_2 : LW_MAC_1_0_4, old ? LW_RP_A : LW_RP_002_1_0_5, ours);
	} else if (strstr(TABLE, "link_channel")) {
		say_channel(r, v, ours);
	} else if (strcmp(TABLE, "common_join_channel") == 0) {
		say_join_channel(r, v, ours);
	} else if (strcmp(TABLE, "chmaskcntl") == 0) {
		say_mask_control(r, v, ours);
	}
	compare(v, "", expected, ours);
}

static void test_facts(void **state)
{
	struct vec vector;
	unsigned rows = 0;
	(void)state;
	mismatches = 0;
	for (vec_open(&vector, "tests/vectors/regions/regions.tsv"); vec_next(&vector);) {
		if (strcmp(vector.field[0], "region") == 0)
			continue;
		check_row(region_of(vector.field[0]), &vector);
		rows++;
	}
	assert_int_equal(mismatches, 0);
	assert_int_equal(rows, 4140);
}

/* ---- the reverse: we have nothing that the facts lack ---- */

struct seen {
	const char *name;
	bool dr[2][LW_DR_COUNT];
	bool rx1[LW_DR_COUNT][LW_RX1_OFFSETS];
	unsigned up;
	unsigned down;
	unsigned powers;
	unsigned sub_bands;
};

static void note_row(const struct vec *v, struct seen *s)
{
	unsigned dr;
	unsigned offset;
	if (strcmp(TABLE, "dr") == 0)
		s->dr[strcmp(SUBKEY, "down") == 0][number(KEY)] = true;
	else if (strcmp(TABLE, "rx1_dr") == 0 && sscanf(KEY, "up DR%u", &dr) == 1 &&
		 sscanf(SUBKEY, "offset %u", &offset) == 1)
		s->rx1[dr][offset] = true;
	s->up += strcmp(TABLE, "uplink_channel") == 0;
	s->down += strcmp(TABLE, "downlink_channel") == 0;
	s->powers += strcmp(TABLE, "tx_power") == 0;
	s->sub_bands += strcmp(TABLE, "subband") == 0;
}

static void expect_known(const char *region, const char *table, const char *key, const char *subkey, const char *ours)
{
	const char *fact[5] = {region, table, key, subkey, ""};
	if (!is_intended(fact, ours)) {
		print_message("only ours: %s %s %s %s: %s\n", region, table, key, subkey, ours);
		mismatches++;
	}
}

static void check_reverse(const struct seen *s)
{
	const struct lw_region *r = lw_region_by_name(s->name);
	char key[TEXT];
	char ours[TEXT];
	assert_non_null(r);
	for (unsigned dr = 0; dr < LW_DR_COUNT; dr++) {
		for (int dir = LW_UP; dir <= LW_DOWN; dir++) {
			const struct lw_modulation *m = lw_region_dr(r, (enum lw_dir)dir, dr);
			say(key, "%u", dr);
			say_modulation(m, ours);
			if (m && !s->dr[dir][dr])
				expect_known(s->name, "dr", key, dir == LW_DOWN ? "down" : "up", ours);
			if (m)
				assert_int_equal(lw_region_dr_index(r, (enum lw_dir)dir, m), dr);
		}
		for (unsigned offset = 0; offset <= LW_RX1_OFFSETS; offset++) {
			bool has = lw_region_rx1_dr(r, dr, offset, false) >= 0;
			assert_int_equal(has, lw_region_rx1_dr(r, dr, offset, true) >= 0);
			assert_int_equal(has, offset < LW_RX1_OFFSETS && s->rx1[dr][offset]);
		}
	}
	struct lw_tx_power p;
	lw_region_tx_power(r, LW_MAC_1_0_4, LW_RP_002_1_0_5, &p);
	assert_int_equal(p.max_index + 1, s->powers);
	assert_int_equal(channels(r->up, r->n_up), s->up);
	assert_int_equal(r->n_down ? channels(r->down, r->n_down) : s->up, s->down);
	if (r->n_sub_bands != s->sub_bands) {
		say(ours, "%zu", r->n_sub_bands);
		expect_known(s->name, "subband", "count", "", ours);
	}
}

static void test_nothing_else(void **state)
{
	static struct seen seen[] = {
		{.name = "EU868"}, {.name = "US915"}, {.name = "CN779"},   {.name = "EU433"},   {.name = "AU915"},
		{.name = "CN470"}, {.name = "AS923"}, {.name = "KR920"},   {.name = "AS923_2"}, {.name = "AS923_3"},
		{.name = "IN865"}, {.name = "RU864"}, {.name = "AS923_4"}, {.name = "ISM2400"},
	};
	struct vec v;
	(void)state;
	mismatches = 0;
	for (vec_open(&v, "tests/vectors/regions/regions.tsv"); vec_next(&v);)
		for (size_t i = 0; i < sizeof(seen) / sizeof(seen[0]); i++)
			if (strcmp(v.field[0], seen[i].name) == 0)
				note_row(&v, &seen[i]);
	for (size_t i = 0; i < sizeof(seen) / sizeof(seen[0]); i++)
		check_reverse(&seen[i]);
	assert_int_equal(mismatches, 0);
}

/* Where the facts side against the reference: its tables are known, ours must be as listed. */
static void test_other_than_reference(void **state)
{
	struct vec vector;
	struct vec *v = &vector;
	unsigned rows = 0;
	(void)state;
	mismatches = 0;
	for (vec_open(v, "tests/vectors/regions/differences.tsv"); vec_next(v);) {
		if (strncmp(TABLE, REFERENCE, strlen(REFERENCE)) != 0)
			continue;
		char *versions = v->field[4];
		v->field[1] += strlen(REFERENCE);
		v->field[4] = v->field[5];
		v->field[7] = versions;
		const struct lw_region *r = region_of(REGION);
		assert_non_null(r);
		check_row(r, v);
		rows++;
	}
	assert_true(rows > 0);
	assert_int_equal(mismatches, 0);
}

/* Runs last: a difference that no fact contradicts is stale. */
static void test_differences_are_needed(void **state)
{
	unsigned stale = 0;
	(void)state;
	for (size_t i = 0; i < n_differences; i++) {
		if (differences[i].used == 0) {
			print_message("differences.tsv:%u: not needed\n", differences[i].line);
			stale++;
		}
	}
	assert_int_equal(stale, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_facts),
		cmocka_unit_test(test_nothing_else),
		cmocka_unit_test(test_other_than_reference),
		cmocka_unit_test(test_differences_are_needed),
	};
	return cmocka_run_group_tests(tests, load_differences, NULL);
}
