#include "app-server/domain/event_command.h"

#include "app-server/domain/payload.h"
#include "common/base/clock.h"
#include "common/base/time.h"

static int refuse(struct lw_diag *diag, const char *why)
{
	lw_diag_set(diag, "%s", why);
	return LW_EINVAL;
}

int as_command_check(const struct as_command_topic *topic, const Integration__DownlinkCommand *m,
		     struct as_command *out, struct lw_diag *diag)
{
	*out = (struct as_command){0};
	if (!lw_span_eq_str(topic->command, "down"))
		return refuse(diag, "the command is not \"down\"");
	if (lw_uuid_parse_n(&out->application_id, (const char *)topic->application_id.p, topic->application_id.n) < 0)
		return refuse(diag, "the topic's application id is not a UUID");
	if (lw_dev_eui_parse_n(&out->dev_eui, (const char *)topic->dev_eui.p, topic->dev_eui.n) < 0)
		return refuse(diag, "the topic's DevEUI is not an EUI");
	if (!lw_span_eq_str(topic->dev_eui, m->dev_eui))
		return refuse(diag, "devEui differs from the topic's");
	if (m->f_port < 1 || m->f_port > 255)
		return refuse(diag, "fPort is not between 1 and 255");
	if (m->object && m->object->n_fields > 0) {
		lw_diag_set(diag, "payload codecs are not available yet: give data instead of object");
		return LW_EUNSUPPORTED;
	}
	if (m->data.len > AS_PAYLOAD_MAX)
		return refuse(diag, "data is longer than a frame");
	if (m->id[0]) {
		if (lw_uuid_parse(&out->id, m->id) < 0)
			return refuse(diag, "id is not a UUID");
		out->has_id = true;
	}
	out->f_port = m->f_port;
	out->confirmed = m->confirmed;
	out->data = lw_span(m->data.data, m->data.len);
	if (m->expires_at)
		out->expires_at_us = lw_join_ns(m->expires_at->seconds, m->expires_at->nanos) / LW_NS_PER_US;
	return 0;
}
