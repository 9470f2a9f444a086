/* Channel list of a join-accept, and 24-bit frequencies. */
#include "common/lorawan/cflist.h"

#include "common/base/bytes.h"
#include "common/base/err.h"

#define STEP_HZ 100U
#define STEP_24_HZ 200U
#define FROM_24_HZ 2400000000U /* from here on the larger step counts */

int lw_freq24_encode(uint32_t hz, uint8_t out[3])
{
	uint32_t step = hz >= FROM_24_HZ ? STEP_24_HZ : STEP_HZ;
	uint32_t raw = hz / step;
	/* Below 2.4 GHz a raw value may not reach the range that the larger step uses. */
	if (hz % step || raw > 0xFFFFFF || (step == STEP_HZ && raw >= FROM_24_HZ / STEP_24_HZ))
		return LW_EINVAL;
	lw_put_le24(out, raw);
	return 0;
}

uint32_t lw_freq24_parse(const uint8_t in[3])
{
	uint32_t raw = lw_get_le24(in);
	return raw >= FROM_24_HZ / STEP_24_HZ ? raw * STEP_24_HZ : raw * STEP_HZ;
}

int lw_cflist_parse(const uint8_t bytes[LW_CFLIST_LEN], struct lw_cflist *out)
{
	*out = (struct lw_cflist){0};
	switch (bytes[LW_CFLIST_LEN - 1]) {
	case LW_CFLIST_FREQUENCIES:
		out->type = LW_CFLIST_FREQUENCIES;
		for (int i = 0; i < LW_CFLIST_FREQS; i++)
			out->freq_hz[i] = lw_freq24_parse(bytes + 3 * i);
		return 0;
	case LW_CFLIST_MASKS:
		out->type = LW_CFLIST_MASKS;
		for (int i = 0; i < LW_CFLIST_MASK_COUNT; i++)
			out->mask[i] = lw_get_le16(bytes + 2 * i);
		return 0;
	default:
		return LW_EINVAL;
	}
}

int lw_cflist_encode(const struct lw_cflist *l, uint8_t out[LW_CFLIST_LEN])
{
	memset(out, 0, LW_CFLIST_LEN);
	if (l->type != LW_CFLIST_FREQUENCIES && l->type != LW_CFLIST_MASKS)
		return LW_EINVAL;
	for (int i = 0; l->type == LW_CFLIST_FREQUENCIES && i < LW_CFLIST_FREQS; i++) {
		int rc = lw_freq24_encode(l->freq_hz[i], out + 3 * i);
		if (rc < 0)
			return rc;
	}
	for (int i = 0; l->type == LW_CFLIST_MASKS && i < LW_CFLIST_MASK_COUNT; i++)
		lw_put_le16(out + 2 * i, l->mask[i]);
	out[LW_CFLIST_LEN - 1] = (uint8_t)l->type;
	return 0;
}
