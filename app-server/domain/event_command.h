/* The rules for a downlink command (contracts/integration.md §3). Pure. */
#pragma once

#include "common/base/bytes.h"
#include "common/base/err.h"
#include "common/base/ids.h"
#include "proto/integration/integration.pb-c.h"

/* What the topic says. */
struct as_command_topic {
	struct lw_span application_id, dev_eui, command;
};

struct as_command {
	struct lw_uuid application_id;
	struct lw_dev_eui dev_eui;
	bool has_id;
	struct lw_uuid id;
	uint32_t f_port;
	bool confirmed;
	struct lw_span data;   /* borrowed from the message */
	int64_t expires_at_us; /* 0: never */
};

/* 0; LW_EINVAL or LW_EUNSUPPORTED with the reason in words. */
int as_command_check(const struct as_command_topic *topic, const Integration__DownlinkCommand *m,
		     struct as_command *out, struct lw_diag *diag);
