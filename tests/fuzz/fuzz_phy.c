/* PHYPayload: any bytes; what parses must encode to the same bytes, reserved bits aside. */
#include <stdlib.h>

#include "common/lorawan/phy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct lw_phy phy;
	struct lw_phy again;
	uint8_t out[LW_PHY_MAX];
	if (lw_phy_parse(lw_span(data, size), &phy) < 0)
		return 0;
	int n = lw_phy_encode(&phy, out, sizeof out);
	if (n < 0 || (size_t)n != size)
		abort();
	/* MHDR and FCtrl have reserved bits. */
	for (size_t i = 0; i < size; i++)
		if (out[i] != data[i] && i != 0 && i != 5)
			abort();
	if (lw_phy_parse(lw_span(out, size), &again) < 0 || again.mtype != phy.mtype)
		abort();
	return 0;
}
