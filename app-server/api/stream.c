/* The streams of api.InternalService: the same sources as the server-sent events, as LogItem messages. */
#include <stdio.h>
#include <stdlib.h>

#include "app-server/api/handlers.h"
#include "app-server/link/live_internal.h"
#include "app-server/store/row.h"
#include "common/base/bug.h"
#include "common/base/hex.h"
#include "common/lorawan/phy.h"
#include "common/pb/json_out.h"
#include "common/pb/pbjson.h"
#include "proto/api/internal.pb-c.h"

#define MAX_BODY (1u << 20)
#define MAX_PROPERTIES 8

struct watcher {
	struct as_call *call;
	struct as_live_source *source;
	bool is_frames;
};

struct item {
	Api__LogItem msg;
	Api__LogItem__PropertiesEntry entries[MAX_PROPERTIES];
	Api__LogItem__PropertiesEntry *list[MAX_PROPERTIES];
	char numbers[3][12];
	struct lw_buf body;
};

static void put_property(struct item *i, const char *key, const char *value)
{
	BUG_ON(i->msg.n_properties == MAX_PROPERTIES);
	Api__LogItem__PropertiesEntry *e = &i->entries[i->msg.n_properties];
	api__log_item__properties_entry__init(e);
	e->key = (char *)(uintptr_t)key;
	e->value = (char *)(uintptr_t)value;
	i->list[i->msg.n_properties++] = e;
}

static void put_hex(struct lw_buf *out, const char *name, struct lw_span bytes)
{
	lw_buf_printf(out, "\"%s\":\"", name);
	char *p = (char *)lw_buf_reserve(out, 2 * bytes.n + 1);
	if (p) {
		lw_hex_encode(bytes.p, bytes.n, p);
		lw_buf_commit(out, 2 * bytes.n);
	}
	lw_buf_append_str(out, "\"");
}

static const char *yes_no(bool v)
{
	return v ? "true" : "false";
}

static void put_data_frame(struct lw_buf *out, const struct lw_data_frame *d)
{
	char addr[LW_DEVADDR_TEXT];
	lw_buf_printf(
		out,
		"{\"fhdr\":{\"devaddr\":\"%s\",\"f_ctrl\":{\"adr\":%s,\"adr_ack_req\":%s,\"ack\":%s,\"class_b\":%s,"
		"\"f_pending\":%s,\"f_opts_len\":%zu},\"f_cnt\":%u,",
		lw_devaddr_print(d->devaddr, addr), yes_no(d->fctrl.adr), yes_no(d->fctrl.adr_ack_req),
		yes_no(d->fctrl.ack), yes_no(d->fctrl.class_b), yes_no(d->fctrl.fpending), d->fopts.n, d->fcnt);
	put_hex(out, "f_opts", d->fopts);
	lw_buf_append_str(out, "},");
	if (d->fport == LW_FPORT_NONE)
		lw_buf_append_str(out, "\"f_port\":null,");
	else
		lw_buf_printf(out, "\"f_port\":%d,", d->fport);
	put_hex(out, "frm_payload", d->frm);
	lw_buf_append_str(out, "}");
}

/* The frame taken apart as far as its type says; what cannot be read stays hex. */
static void put_phy(struct lw_buf *out, struct lw_span bytes)
{
	struct lw_phy phy;
	char join_eui[LW_EUI_TEXT], dev_eui[LW_EUI_TEXT];
	if (lw_phy_parse(bytes, &phy) < 0) {
		lw_buf_append_str(out, "{");
		put_hex(out, "raw", bytes);
		lw_buf_append_str(out, "}");
		return;
	}
	lw_buf_printf(out,
		      "{\"mhdr\":{\"f_type\":\"%s\",\"major\":\"LoRaWANR1\"},\"payload\":", lw_mtype_text(phy.mtype));
	if (lw_mtype_is_data_up(phy.mtype) || lw_mtype_is_data_down(phy.mtype)) {
		put_data_frame(out, &phy.u.data);
	} else if (phy.mtype == LW_MTYPE_JOIN_REQUEST) {
		lw_buf_printf(out, "{\"join_eui\":\"%s\",\"dev_eui\":\"%s\",\"dev_nonce\":%u}",
			      lw_join_eui_print(phy.u.join_request.join_eui, join_eui),
			      lw_dev_eui_print(phy.u.join_request.dev_eui, dev_eui), phy.u.join_request.dev_nonce);
	} else {
		lw_buf_append_str(out, "{");
		put_hex(out, "raw", lw_span(bytes.p + 1, bytes.n - 1));
		lw_buf_append_str(out, "}");
	}
	if (phy.mtype != LW_MTYPE_JOIN_ACCEPT && phy.mtype != LW_MTYPE_PROPRIETARY) {
		lw_buf_append_str(out, ",");
		put_hex(out, "mic", lw_span(phy.mic.b, sizeof(phy.mic.b)));
	}
	lw_buf_append_str(out, "}");
}

static int put_message(struct as *as, struct lw_buf *out, const ProtobufCMessage *m)
{
	if (m)
		return lw_pbjson_encode(as->schema, m, LW_PBJSON_GW, out);
	return lw_buf_append_str(out, "null");
}

static int frame_body(struct as *as, const Longwave__Ns__V1__Frame *f, struct lw_buf *out)
{
	int rc = 0;
	lw_buf_append_str(out, "{\"phy_payload\":");
	put_phy(out, lw_span(f->phy_payload.data, f->phy_payload.len));
	lw_buf_append_str(out, ",\"tx_info\":");
	if (f->uplink) {
		rc = put_message(as, out, f->tx_info ? &f->tx_info->base : NULL);
		lw_buf_append_str(out, ",\"rx_info\":[");
		for (size_t i = 0; rc == 0 && i < f->n_rx_info; i++) {
			lw_buf_append_str(out, i ? "," : "");
			rc = put_message(as, out, &f->rx_info[i]->base);
		}
		lw_buf_append_str(out, "]}");
	} else {
		size_t at = f->taken > 0 && (size_t)f->taken < f->n_downlink_tx_info ? (size_t)f->taken : 0;
		rc = put_message(as, out, f->n_downlink_tx_info ? &f->downlink_tx_info[at]->base : NULL);
		lw_buf_append_str(out, ",\"rx_info\":[]}");
	}
	return rc < 0 ? rc : out->err;
}

static int fill_frame(struct as *as, const Longwave__Ns__V1__Frame *f, struct item *i)
{
	i->msg.time = f->time;
	i->msg.description = (char *)(uintptr_t)lw_mtype_text((enum lw_mtype)(f->f_type & 7));
	if (f->dev_addr[0])
		put_property(i, "DevAddr", f->dev_addr);
	if (f->dev_eui[0])
		put_property(i, "DevEUI", f->dev_eui);
	if (f->gateway_id[0])
		put_property(i, "Gateway ID", f->gateway_id);
	return frame_body(as, f, &i->body);
}

static const char *number(struct item *i, int at, uint32_t v)
{
	snprintf(i->numbers[at], sizeof(i->numbers[at]), "%u", v);
	return i->numbers[at];
}

static int fill_event(struct as_call *c, const struct as_live_item *in, struct item *i, char **hex)
{
	const ProtobufCFieldDescriptor *f =
		protobuf_c_message_descriptor_get_field_by_name(in->msg->descriptor, "time");
	i->msg.time = *(Google__Protobuf__Timestamp *const *)(const void *)((const char *)in->msg + f->offset);
	i->msg.description = (char *)(uintptr_t)in->name;
	if (in->msg->descriptor == &integration__uplink_event__descriptor) {
		const Integration__UplinkEvent *u = (const Integration__UplinkEvent *)in->msg;
		put_property(i, "DR", number(i, 0, u->dr));
		put_property(i, "FPort", number(i, 1, u->f_port));
		put_property(i, "FCnt", number(i, 2, u->f_cnt));
		*hex = malloc(2 * u->data.len + 1);
		if (*hex)
			put_property(i, "Data", lw_hex_encode(u->data.data, u->data.len, *hex));
	} else if (in->msg->descriptor == &integration__join_event__descriptor) {
		put_property(i, "DevAddr", ((const Integration__JoinEvent *)in->msg)->dev_addr);
	}
	return lw_pbjson_encode(c->as->schema, in->msg, LW_PBJSON_EVENT, &i->body);
}

static void on_item(void *arg, const struct as_live_item *in)
{
	struct watcher *w = arg;
	struct as_call *c = w->call;
	struct item i = {.msg = API__LOG_ITEM__INIT};
	char *hex = NULL;

	/* Too slow: events are missed, frames wait at the network-server. */
	if (in->name && !grpc_call_writable(c->grpc))
		return;
	lw_buf_init(&i.body, MAX_BODY);
	i.msg.id = (char *)(uintptr_t)in->id;
	i.msg.properties = i.list;
	int rc = in->name ? fill_event(c, in, &i, &hex)
			  : fill_frame(c->as, (const Longwave__Ns__V1__Frame *)in->msg, &i);
	i.msg.body = (char *)(uintptr_t)lw_buf_str(&i.body);
	if (rc == 0)
		grpc_call_send(c->grpc, &i.msg.base);
	lw_buf_deinit(&i.body);
	free(hex);
	if (w->is_frames && !grpc_call_writable(c->grpc))
		as_live_pause(w->source, true);
}

static void on_writable(struct grpc_call *g)
{
	struct watcher *w = ((struct as_call *)grpc_call_user(g))->state;
	as_live_pause(w->source, false);
}

static void on_cancel(struct grpc_call *g)
{
	struct watcher *w = ((struct as_call *)grpc_call_user(g))->state;
	as_live_unfollow(w->source);
	w->source = NULL;
	grpc_call_finish(g, GRPC_CANCELLED, NULL);
}

static void stream(struct as_call *c, enum as_live_kind kind)
{
	static const struct grpc_call_events events = {.writable = on_writable, .cancel = on_cancel};
	struct watcher *w = LW_ARENA_NEW(c->arena, struct watcher);
	if (!c->as->live || grpc_call_cancelled(c->grpc)) {
		as_fail(c, GRPC_UNAVAILABLE, "live streams are not available");
		return;
	}
	w->call = c;
	w->is_frames = kind != AS_LIVE_DEVICE_EVENTS;
	c->state = w;
	grpc_call_set_events(c->grpc, &events);
	w->source = as_live_follow(c->as->live, kind, c->object_id, "", on_item, w);
}

void as_stream_gateway_frames(struct as_call *c)
{
	stream(c, AS_LIVE_GATEWAY_FRAMES);
}

void as_stream_device_frames(struct as_call *c)
{
	stream(c, AS_LIVE_DEVICE_FRAMES);
}

void as_stream_device_events(struct as_call *c)
{
	stream(c, AS_LIVE_DEVICE_EVENTS);
}
