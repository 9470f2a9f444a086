#include "network-server/domain/class_b.h"

#include "common/base/bug.h"
#include "common/base/bytes.h"
#include "common/base/clock.h"

#define PERIOD_NS (NS_BEACON_PERIOD_S * LW_NS_PER_S)
#define RESERVED_NS (2120 * LW_NS_PER_MS) /* for the beacon itself */
#define SLOT_NS (30 * LW_NS_PER_MS)

int64_t ns_beacon_start(int64_t gps_ns)
{
	return gps_ns - gps_ns % PERIOD_NS;
}

unsigned ns_ping_offset(struct lw_keycache *kc, uint32_t beacon_gps_s, struct lw_devaddr devaddr, unsigned ping_nb)
{
	static const struct lw_key zero;
	uint8_t block[LW_AES_BLOCK] = {0};
	BUG_ON(ping_nb == 0 || ping_nb > 128);
	lw_put_le32(block, beacon_gps_s);
	lw_put_le32(block + 4, devaddr.v);
	lw_aes_encrypt(lw_keycache_get(kc, &zero), block, block, 1);
	return lw_get_le16(block) % (NS_PING_SLOTS / ping_nb);
}

int64_t ns_next_ping_slot(struct lw_keycache *kc, int64_t after_gps_ns, struct lw_devaddr devaddr, unsigned ping_nb)
{
	int64_t period_ns = NS_PING_SLOTS / ping_nb * SLOT_NS;
	for (int64_t beacon = ns_beacon_start(after_gps_ns);; beacon += PERIOD_NS) {
		unsigned offset = ns_ping_offset(kc, (uint32_t)(beacon / LW_NS_PER_S), devaddr, ping_nb);
		int64_t slot = beacon + RESERVED_NS + offset * SLOT_NS;
		for (unsigned i = 0; i < ping_nb; i++, slot += period_ns)
			if (slot >= after_gps_ns)
				return slot;
	}
}
