/* Frames, MICs, keys and encryption against golden vectors: tests/vectors/lorawan/recorded.tsv (a reference network and
 * an independent device) and synthetic.tsv (an independent implementation); make_vectors.py there explains the fields.
 */
#include "tests/unit/common/lorawan/vectors.h"

#include "common/base/err.h"
#include "common/lorawan/cipher.h"
#include "common/lorawan/join.h"
#include "common/lorawan/keys.h"
#include "common/lorawan/mic.h"
#include "common/lorawan/phy.h"

static struct lw_keycache *kc;

static unsigned long number(const char *text)
{
	return strtoul(text, NULL, 10);
}

/* Parses, and proves that encoding what was parsed gives the same bytes. */
static void parse_and_back(struct lw_span frame, struct lw_phy *phy)
{
	uint8_t again[LW_PHY_MAX];
	assert_int_equal(lw_phy_parse(frame, phy), 0);
	assert_int_equal(lw_phy_encode(phy, again, sizeof again), frame.n);
	assert_memory_equal(again, frame.p, frame.n);
	assert_int_equal(lw_phy_encode(phy, again, frame.n - 1), LW_EBIG);
}

static void assert_mic(struct lw_mic got, struct lw_mic want)
{
	assert_memory_equal(got.b, want.b, LW_MIC_LEN);
}

/* Every bit of the frame counts for the MIC. */
static void assert_mic_covers(struct lw_mic good, struct lw_mic (*mic)(void *, struct lw_span), void *arg,
			      struct lw_span msg)
{
	uint8_t copy[LW_PHY_MAX];
	memcpy(copy, msg.p, msg.n);
	for (size_t i = 0; i < msg.n; i++) {
		copy[i] ^= (uint8_t)(1U << i % 8);
		assert_false(lw_mic_eq(mic(arg, lw_span(copy, msg.n)), good));
		copy[i] ^= (uint8_t)(1U << i % 8);
	}
}

static struct lw_mic plain_mic(void *key, struct lw_span msg)
{
	return lw_mic_plain(kc, key, msg);
}

static void check_join_request(struct vec *v)
{
	uint8_t b[LW_PHY_MAX];
	char t[LW_EUI_TEXT];
	struct lw_phy phy;
	struct lw_key key = vec_key(v->field[1]);
	parse_and_back(lw_span(b, vec_bytes(v->field[5], b, sizeof b)), &phy);
	assert_int_equal(phy.mtype, LW_MTYPE_JOIN_REQUEST);
	assert_string_equal(lw_join_eui_print(phy.u.join_request.join_eui, t), v->field[2]);
	assert_string_equal(lw_dev_eui_print(phy.u.join_request.dev_eui, t), v->field[3]);
	assert_int_equal(phy.u.join_request.dev_nonce, number(v->field[4]));
	assert_mic(lw_mic_plain(kc, &key, phy.msg), phy.mic);
	assert_mic_covers(phy.mic, plain_mic, &key, phy.msg);
}

static void check_session_keys(struct vec *v, const struct lw_join_accept *ja, bool opt_neg)
{
	struct lw_key nwk = vec_key(v->field[1]);
	struct lw_key app = vec_key(v->field[2]);
	struct lw_join_eui join_eui;
	struct lw_session_keys s;
	assert_int_equal(lw_join_eui_parse(&join_eui, v->field[5]), 0);
	uint16_t dev_nonce = (uint16_t)number(v->field[7]);
	if (opt_neg)
		lw_keys_session_11(kc, &nwk, &app, ja->join_nonce, join_eui, dev_nonce, &s);
	else
		lw_keys_session_10(kc, &nwk, ja->join_nonce, ja->netid, dev_nonce, &s);
	assert_true(lw_key_eq(s.f_nwk_s_int, vec_key(v->field[16])));
	assert_true(lw_key_eq(s.s_nwk_s_int, vec_key(v->field[17])));
	assert_true(lw_key_eq(s.nwk_s_enc, vec_key(v->field[18])));
	assert_true(lw_key_eq(s.app_s, vec_key(v->field[19])));
}

static void check_join_accept(struct vec *v)
{
	uint8_t b[LW_PHY_MAX];
	char t[LW_KEY_TEXT];
	struct lw_phy phy;
	struct lw_join_accept ja;
	struct lw_key nwk = vec_key(v->field[1]);
	struct lw_dev_eui dev_eui;
	struct lw_join_eui join_eui;
	struct lw_key js_int;
	struct lw_key js_enc;
	bool opt_neg = number(v->field[8]);
	assert_int_equal(lw_dev_eui_parse(&dev_eui, v->field[6]), 0);
	assert_int_equal(lw_join_eui_parse(&join_eui, v->field[5]), 0);
	lw_keys_js(kc, &nwk, dev_eui, &js_int, &js_enc);
	assert_string_equal(lw_key_print(js_int, t), v->field[3]);
	assert_string_equal(lw_key_print(js_enc, t), v->field[4]);

	parse_and_back(lw_span(b, vec_bytes(v->field[15], b, sizeof b)), &phy);
	uint8_t plain[LW_JOIN_ACCEPT_MAX] = {phy.mhdr};
	size_t n = phy.u.encrypted.n;
	assert_int_equal(lw_cipher_join_accept_decrypt(kc, &nwk, phy.u.encrypted.p, n, plain + 1), 0);
	struct lw_span msg = lw_span(plain, 1 + n - LW_MIC_LEN);
	struct lw_mic mic = opt_neg ? lw_mic_join_accept_11(kc, &js_int, LW_JOIN_REQ_JOIN, join_eui,
							    (uint16_t)number(v->field[7]), msg)
				    : lw_mic_plain(kc, &nwk, msg);
	assert_memory_equal(mic.b, plain + msg.n, LW_MIC_LEN);

	assert_int_equal(lw_join_accept_parse(lw_span(plain + 1, n - LW_MIC_LEN), &ja), 0);
	assert_int_equal(ja.join_nonce, number(v->field[9]));
	assert_string_equal(lw_netid_print(ja.netid, t), v->field[10]);
	assert_string_equal(lw_devaddr_print(ja.devaddr, t), v->field[11]);
	assert_int_equal(lw_dl_settings_encode(ja.dl_settings), number(v->field[12]));
	assert_int_equal(ja.dl_settings.opt_neg, opt_neg);
	assert_int_equal(ja.rx_delay, number(v->field[13]));
	assert_int_equal(ja.has_cflist, v->field[14][0] != '\0');
	if (ja.has_cflist)
		assert_string_equal(lw_hex_encode(ja.cflist, sizeof ja.cflist, t), v->field[14]);

	uint8_t again[LW_JOIN_ACCEPT_MAX];
	int len = lw_join_accept_encode(&ja, again, sizeof again);
	assert_int_equal(len, n - LW_MIC_LEN);
	assert_memory_equal(again, plain + 1, (size_t)len);
	memcpy(again + len, mic.b, LW_MIC_LEN);
	assert_int_equal(lw_cipher_join_accept_encrypt(kc, &nwk, again, n, again), 0);
	assert_memory_equal(again, phy.u.encrypted.p, n);
	check_session_keys(v, &ja, opt_neg);
}

/* What the MIC of a data frame depends on. */
struct data_case {
	bool v11;
	enum lw_dir dir;
	struct lw_session_keys keys;
	struct lw_devaddr devaddr;
	uint32_t fcnt;
	uint16_t conf_fcnt;
	uint8_t dr;
	uint8_t ch;
};

static struct lw_mic data_mic(void *arg, struct lw_span msg)
{
	const struct data_case *c = arg;
	if (!c->v11)
		return lw_mic_data_10(kc, &c->keys.f_nwk_s_int, c->dir, c->devaddr, c->fcnt, msg);
	if (c->dir == LW_DOWN)
		return lw_mic_data_down_11(kc, &c->keys.s_nwk_s_int, c->conf_fcnt, c->devaddr, c->fcnt, msg);
	struct lw_mic_up_11 p = {.conf_fcnt = c->conf_fcnt, .tx_dr = c->dr, .tx_ch = c->ch};
	return lw_mic_data_up_11(kc, &c->keys.f_nwk_s_int, &c->keys.s_nwk_s_int, &p, c->devaddr, c->fcnt, msg);
}

static void check_plain_text(struct vec *v, const struct data_case *c, const struct lw_data_frame *d)
{
	uint8_t want[LW_PHY_MAX];
	uint8_t got[LW_PHY_MAX];
	size_t n = vec_bytes(v->field[12], want, sizeof want);
	assert_int_equal(d->fopts.n, n);
	if (n)
		memcpy(got, d->fopts.p, n);
	if (c->v11) {
		bool afcnt = c->dir == LW_DOWN && d->fport > 0;
		lw_cipher_fopts(kc, &c->keys.nwk_s_enc, c->dir, afcnt ? LW_FOPTS_AFCNT_DOWN : LW_FOPTS_FCNT, c->devaddr,
				c->fcnt, got, n, got);
	}
	assert_memory_equal(got, want, n);
	assert_int_equal(d->fport, v->field[13][0] ? (int)number(v->field[13]) : LW_FPORT_NONE);
	n = vec_bytes(v->field[14], want, sizeof want);
	assert_int_equal(d->frm.n, n);
	const struct lw_key *key = d->fport == 0 ? &c->keys.nwk_s_enc : &c->keys.app_s;
	lw_cipher_frm(kc, key, c->dir, c->devaddr, c->fcnt, d->frm.p, n, got);
	assert_memory_equal(got, want, n);
}

static void check_data(struct vec *v)
{
	uint8_t b[LW_PHY_MAX];
	struct lw_phy phy;
	parse_and_back(lw_span(b, vec_bytes(v->field[11], b, sizeof b)), &phy);
	struct data_case c = {
		.v11 = number(v->field[1]) == 11,
		.dir = strcmp(v->field[2], "down") == 0 ? LW_DOWN : LW_UP,
		.keys = {vec_key(v->field[3]), vec_key(v->field[4]), vec_key(v->field[5]), vec_key(v->field[6])},
		.devaddr = phy.u.data.devaddr,
		.fcnt = (uint32_t)number(v->field[7]),
		.conf_fcnt = (uint16_t)number(v->field[8]),
		.dr = (uint8_t)number(v->field[9]),
		.ch = (uint8_t)number(v->field[10]),
	};
	assert_int_equal(c.dir == LW_UP, lw_mtype_is_data_up(phy.mtype));
	assert_int_equal(phy.u.data.fcnt, c.fcnt & 0xFFFF);
	assert_mic(data_mic(&c, phy.msg), phy.mic);
	assert_mic_covers(phy.mic, data_mic, &c, phy.msg);
	check_plain_text(v, &c, &phy.u.data);
	if (c.v11 && c.dir == LW_UP) {
		const struct lw_key *f = &c.keys.f_nwk_s_int;
		assert_true(lw_mic_up_11_check_f(kc, f, c.devaddr, c.fcnt, phy.msg, phy.mic));
		assert_false(lw_mic_up_11_check_f(kc, f, c.devaddr, c.fcnt + 1, phy.msg, phy.mic));
		c.ch ^= 1;
		assert_false(lw_mic_eq(data_mic(&c, phy.msg), phy.mic));
		c.ch ^= 1;
		c.dr ^= 1;
		assert_false(lw_mic_eq(data_mic(&c, phy.msg), phy.mic));
		c.dr ^= 1;
	}
	if (c.v11) {
		c.conf_fcnt ^= 1;
		assert_false(lw_mic_eq(data_mic(&c, phy.msg), phy.mic));
		c.conf_fcnt ^= 1;
	}
	c.fcnt ^= 0x10000;
	assert_false(lw_mic_eq(data_mic(&c, phy.msg), phy.mic));
}

static void check_rejoin(struct vec *v)
{
	uint8_t b[LW_PHY_MAX];
	char t[LW_KEY_TEXT];
	struct lw_phy phy;
	struct lw_key key = vec_key(v->field[1]);
	parse_and_back(lw_span(b, vec_bytes(v->field[6], b, sizeof b)), &phy);
	assert_int_equal(phy.u.rejoin.type, number(v->field[2]));
	if (phy.u.rejoin.type == 1)
		lw_join_eui_print(phy.u.rejoin.join_eui, t);
	else
		lw_netid_print(phy.u.rejoin.netid, t);
	assert_string_equal(t, v->field[3]);
	assert_string_equal(lw_dev_eui_print(phy.u.rejoin.dev_eui, t), v->field[4]);
	assert_int_equal(phy.u.rejoin.rj_count, number(v->field[5]));
	assert_mic(lw_mic_plain(kc, &key, phy.msg), phy.mic);
}

/* Returns the number of vectors. */
static unsigned run_file(const char *path)
{
	struct vec v;
	unsigned n = 0;
	kc = lw_keycache_new(8); /* small, so that keys push each other out */
	for (vec_open(&v, path); vec_next(&v); n++) {
		const char *kind = v.field[0];
		if (strcmp(kind, "join_request") == 0)
			check_join_request(&v);
		else if (strcmp(kind, "join_accept") == 0)
			check_join_accept(&v);
		else if (strcmp(kind, "data") == 0)
			check_data(&v);
		else if (strcmp(kind, "rejoin") == 0)
			check_rejoin(&v);
		else
			fail_msg("%s:%u: unknown kind %s", path, v.number, kind);
	}
	lw_keycache_free(kc);
	kc = NULL;
	return n;
}

static void test_recorded(void **state)
{
	(void)state;
	assert_true(run_file("tests/vectors/lorawan/recorded.tsv") >= 300);
}

static void test_synthetic(void **state)
{
	(void)state;
	assert_true(run_file("tests/vectors/lorawan/synthetic.tsv") >= 80);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_recorded),
		cmocka_unit_test(test_synthetic),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
