/* Join-accept bodies and CFLists: any bytes; what parses must encode to the same bytes, reserved bits aside. */
#include <stdlib.h>

#include "common/lorawan/cflist.h"
#include "common/lorawan/join.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_cflist(const uint8_t *bytes)
{
	struct lw_cflist list;
	uint8_t out[LW_CFLIST_LEN];
	if (lw_cflist_parse(bytes, &list) < 0)
		return;
	/* The last byte before the type is unused in both types. */
	if (lw_cflist_encode(&list, out) < 0 || memcmp(out, bytes, 14) != 0 || out[15] != bytes[15])
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct lw_join_accept ja;
	uint8_t out[LW_JOIN_ACCEPT_BODY_MAX];
	if (size == LW_CFLIST_LEN)
		check_cflist(data);
	if (lw_join_accept_parse(lw_span(data, size), &ja) < 0)
		return 0;
	int n = lw_join_accept_encode(&ja, out, sizeof out);
	if (n < 0 || (size_t)n != size)
		abort();
	/* Byte 11 has reserved bits. */
	for (size_t i = 0; i < size; i++)
		if (out[i] != data[i] && i != 11)
			abort();
	if (ja.has_cflist)
		check_cflist(ja.cflist);
	return 0;
}
