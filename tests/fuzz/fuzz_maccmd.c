/* MAC commands: the first byte chooses the direction, the rest is a buffer of commands. What is read must be writable,
 * and reading that again must give the same command. */
#include <stdlib.h>

#include "common/lorawan/mac.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size == 0)
		return 0;
	struct lw_mac_iter it;
	struct lw_mac_cmd cmd;
	size_t read = 0;
	enum lw_dir dir = data[0] & 1 ? LW_DOWN : LW_UP;
	lw_mac_iter_init(&it, dir, lw_span(data + 1, size - 1));
	while (lw_mac_iter_next(&it, &cmd) == 1) {
		uint8_t one[LW_MAC_CMD_MAX];
		uint8_t two[LW_MAC_CMD_MAX];
		int n = lw_mac_encode(&cmd, one, sizeof one);
		if (n < 1 || !lw_mac_cmd_name(cmd.cid, dir))
			abort();
		struct lw_mac_iter again;
		struct lw_mac_cmd same;
		lw_mac_iter_init(&again, dir, lw_span(one, (size_t)n));
		if (lw_mac_iter_next(&again, &same) != 1 || lw_mac_encode(&same, two, sizeof two) != n ||
		    memcmp(one, two, (size_t)n) != 0)
			abort();
		read += (size_t)n;
	}
	if (read + it.rest.n != size - 1)
		abort();
	return 0;
}
