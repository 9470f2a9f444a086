/* Downlinks on their way into the network-server's queue: encrypts each for the coming counters of its device's
 * session. The API and the MQTT commands come through here. */
#pragma once

#include "common/base/bytes.h"
#include "common/base/ids.h"
#include "common/base/list.h"

struct as;

/* In memory of the caller until `done`. */
struct as_enqueue {
	struct lw_uuid id;
	char dev_eui[LW_EUI_TEXT];
	uint32_t f_port; /* 1..255 */
	bool confirmed;
	struct lw_span data; /* at most AS_PAYLOAD_MAX; borrowed */
	bool is_encrypted;   /* data is for exactly f_cnt_down */
	uint32_t f_cnt_down;
	int64_t expires_at_us; /* 0: never */
	bool flush_queue;
	/* gRPC status and words. */
	void (*done)(struct as_enqueue *e, int status, const char *message);
	void *arg;
	/* Internal. */
	struct as *as;
	struct lw_devaddr addr;
	struct lw_key app_s_key;
	bool has_key;
	uint8_t session_key_id[32];
	size_t session_key_id_len;
};

/* A device without a session gets its item too, encrypted later, when the network-server asks for it. */
void as_enqueue(struct as *as, struct as_enqueue *e);
