/* MAC commands of a device, any bytes, against a session with every request pending: then the next downlink is built
 * with what became of it. First octet: 1.1 or not, region. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/bug.h"
#include "network-server/domain/channels.h"
#include "network-server/domain/downlink.h"
#include "network-server/domain/mac_up.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const uint8_t PENDING_CHANNELS[] = {7, 3, 0x18, 0x4f, 0x84, 0x50, 7, 4, 0xe8, 0x56, 0x84, 0x50};
static const uint8_t PENDING_RX[] = {5, 0, 0xd2, 0xad, 0x84};
static const uint8_t PENDING_TIMING[] = {8, 5};
/* One of each other kind that has an answer. */
static const struct {
	uint8_t n;
	uint8_t b[10];
} PENDING[] = {
	{10, {3, 0x51, 0x01, 0x00, 0x71, 3, 0x51, 0xff, 0x00, 0x01}},
	{2, {4, 7}},
	{2, {9, 0x24}},
	{5, {0x0a, 0, 0x18, 0x4f, 0x84}},
	{2, {0x0c, 0x54}},
	{2, {0x0f, 0x36}},
	{5, {0x11, 0, 0, 0, 3}},
	{4, {0x13, 0x50, 0x99, 0x84}},
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 1 || size > 256)
		return 0;
	struct ns_device dev = {.has_session = true, .profile.device_status_req_interval = 24};
	struct ns_session *s = &dev.session;
	const struct ns_region_config *rc = ns_region_config_find(data[0] & 2 ? "us915_0" : "eu868");
	struct ns_uplink up = {.rc = rc, .region = lw_region_by_id(rc->region), .mod = {.kind = LW_MOD_LORA, .sf = 7}};
	s->mac_version = data[0] & 1 ? LW_MAC_1_1_0 : LW_MAC_1_0_3;
	dev.profile.mac_version = s->mac_version;
	s->last_uplink_hz = data[0] & 2 ? 902300000 : 868100000;
	s->dr = 3;
	s->rx2_hz = rc->rx2_hz;
	s->rx2_dr = rc->rx2_dr;
	ns_channels_boot(rc, s);
	ns_session_pending_put(s, 7, PENDING_CHANNELS, sizeof(PENDING_CHANNELS));
	ns_session_pending_put(s, 5, PENDING_RX, sizeof(PENDING_RX));
	ns_session_pending_put(s, 8, PENDING_TIMING, sizeof(PENDING_TIMING));
	for (size_t i = 0; i < sizeof(PENDING) / sizeof(PENDING[0]); i++)
		ns_session_pending_put(s, PENDING[i].b[0], PENDING[i].b, PENDING[i].n);
	s->adr = data[0] & 8;
	dev.profile.supports_class_b = true;
	dev.profile.mac = (struct ns_mac_settings){.has_duty_cycle = true,
						   .max_duty_cycle = 3,
						   .has_adr_ack = true,
						   .has_tx_params = true,
						   .has_rejoin = true,
						   .beacon_hz = 869000000,
						   .n_dl_channels = 1,
						   .dl_channels = {{0, 867100000}}};
	struct ns_mac_up m = {.up = &up, .profile = &dev.profile, .s = s};
	ns_mac_up(&m, lw_span(data + 1, size - 1));
	BUG_ON(m.n_answers > sizeof(m.answers));

	struct lw_keycache *kc = lw_keycache_new(4);
	struct ns_down_out *out = malloc(sizeof(*out));
	struct ns_down_in in = {.kc = kc,
				.dev = &dev,
				.rc = rc,
				.now_ns = 1,
				.force = true,
				.ack = data[0] & 4,
				.answers = lw_span(m.answers, m.n_answers),
				.mac_requests = true,
				.max_mac_error_count = 1};
	s->last_uplink_at_ns = 1;
	ns_down_build(&in, out);
	BUG_ON(out->n_frames > 2);
	free(out);
	lw_keycache_free(kc);
	return 0;
}
