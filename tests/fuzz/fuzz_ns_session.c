/* Session blobs of any content: decoded within all bounds, and what was decoded encodes again to something equal. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/bug.h"
#include "network-server/domain/session.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct ns_session a;
	struct ns_session b;
	struct lw_buf blob;
	if (ns_session_decode(lw_span(data, size), &a) != 0)
		return 0;
	lw_buf_init(&blob, 2 * NS_SESSION_BLOB_MAX);
	BUG_ON(ns_session_encode(&a, &blob) != 0);
	BUG_ON(ns_session_decode(lw_span(blob.p, blob.n), &b) != 0);
	BUG_ON(memcmp(&a, &b, sizeof(a)) != 0);
	lw_buf_deinit(&blob);
	return 0;
}
