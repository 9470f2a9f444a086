/* The frame log's records: one for each uplink, one for each downlink with its latest state. */
#include <string.h>

#include "network-server/domain/mac_list.h"
#include "network-server/flow/internal.h"

/* The text of a step that has one. */
static char *note_of(const struct ns_ctx *c, const char *step)
{
	for (unsigned i = 0; i < c->n_notes; i++)
		if (strcmp(c->note[i].step, step) == 0)
			return (char *)(uintptr_t)c->note[i].text;
	return (char *)(uintptr_t)protobuf_c_empty_string;
}

static void set_steps(struct ns_ctx *c, Longwave__Ns__V1__Frame *fr)
{
	Longwave__Ns__V1__FrameStep *v = LW_ARENA_ARRAY(&c->arena, Longwave__Ns__V1__FrameStep, c->n_steps + 1);
	fr->steps = LW_ARENA_ARRAY(&c->arena, Longwave__Ns__V1__FrameStep *, c->n_steps + 1);
	if (v == NULL || fr->steps == NULL)
		return;
	for (unsigned i = 0; i < c->n_steps; i++) {
		longwave__ns__v1__frame_step__init(&v[i]);
		v[i].name = (char *)(uintptr_t)c->step[i].name;
		v[i].after_us = c->step[i].after_us;
		if (c->n_notes > 0)
			v[i].text = note_of(c, c->step[i].name);
		fr->steps[i] = &v[i];
	}
	fr->n_steps = c->n_steps;
}

static void set_text(Longwave__Ns__V1__Frame *fr, const char *step, const char *text)
{
	for (size_t i = 0; text != NULL && i < fr->n_steps; i++)
		if (strcmp(fr->steps[i]->name, step) == 0)
			fr->steps[i]->text = (char *)(uintptr_t)text;
}

static void set_commands(struct lw_arena *a, Longwave__Ns__V1__Frame *fr, enum lw_dir dir, struct lw_span commands)
{
	fr->mac_commands = ns_mac_list(a, dir, commands, &fr->n_mac_commands);
}

/* A reception that never got a list of its own, because it ended before the window closed. */
static void single_reception(struct ns_up *u, Longwave__Ns__V1__Frame *fr)
{
	if (u->frame == NULL)
		return;
	fr->phy_payload = u->frame->phy_payload;
	fr->tx_info = u->frame->tx_info;
	if (u->rx == NULL && u->frame->rx_info != NULL) {
		fr->rx_info = &u->frame->rx_info;
		fr->n_rx_info = 1;
	} else {
		fr->rx_info = u->rx;
		fr->n_rx_info = u->n_rx;
	}
}

static void set_data(const struct ns_up *u, Longwave__Ns__V1__Frame *fr, char addr[LW_DEVADDR_TEXT])
{
	const struct lw_data_frame *d = &u->up.phy.u.data;
	fr->dev_addr = lw_devaddr_print(d->devaddr, addr);
	fr->f_cnt = u->match.kind == NS_MATCH_NO_DEVICE || u->match.kind == NS_MATCH_NO_MIC ? d->fcnt : u->up.f_cnt;
	fr->f_port = d->fport > 0 ? (uint32_t)d->fport : 0;
	fr->confirmed = u->up.phy.mtype == LW_MTYPE_CONFIRMED_UP;
	fr->ack = d->fctrl.ack;
	fr->adr = d->fctrl.adr;
}

static Common__FType f_type_of(const struct ns_up *u)
{
	switch (u->up.phy.mtype) {
	case LW_MTYPE_JOIN_REQUEST:
		return COMMON__FTYPE__JOIN_REQUEST;
	case LW_MTYPE_CONFIRMED_UP:
		return COMMON__FTYPE__CONFIRMED_DATA_UP;
	case LW_MTYPE_UNCONFIRMED_UP:
		return COMMON__FTYPE__UNCONFIRMED_DATA_UP;
	default:
		return COMMON__FTYPE__REJOIN_REQUEST;
	}
}

/* For the gateways alone that heard it and whose tenant has nothing to do with the device. */
static void record_hidden(struct ns_up *u)
{
	const struct ns_log_port *log = &u->c.f->ports->log;
	Longwave__Ns__V1__Frame fr = LONGWAVE__NS__V1__FRAME__INIT;
	char addr[LW_DEVADDR_TEXT];
	fr.time = ns_timestamp(&u->c.arena, u->in.received_at_ns);
	fr.uplink = true;
	fr.phy_payload = u->frame->phy_payload;
	fr.tx_info = u->frame->tx_info;
	fr.rx_info = u->rx + u->n_rx;
	fr.n_rx_info = u->n_hidden;
	fr.f_type = f_type_of(u);
	if (lw_mtype_is_data_up(u->up.phy.mtype)) {
		fr.dev_addr = lw_devaddr_print(u->up.phy.u.data.devaddr, addr);
		fr.f_cnt = u->up.phy.u.data.fcnt;
		fr.confirmed = u->up.phy.mtype == LW_MTYPE_CONFIRMED_UP;
	}
	fr.dr = u->up.dr;
	fr.outcome = LONGWAVE__V1__OUTCOME__DROPPED;
	fr.reason = LONGWAVE__V1__REASON__PRIVATE_GATEWAY;
	fr.detail = (char *)(uintptr_t) "of a device of another tenant: this gateway is private to its own";
	fr.deduplication_id = u->dedup_id;
	fr.region_config_id = (char *)(uintptr_t)u->rc->id;
	log->frame(log->self, &fr);
}

void ns_record_uplink(struct ns_up *u)
{
	const struct ns_log_port *log = &u->c.f->ports->log;
	Longwave__Ns__V1__Frame fr = LONGWAVE__NS__V1__FRAME__INIT;
	char eui[LW_EUI_TEXT];
	char addr[LW_DEVADDR_TEXT];
	bool parsed = u->up.phy.msg.p != NULL;
	fr.time = ns_timestamp(&u->c.arena, u->in.received_at_ns);
	fr.uplink = true;
	single_reception(u, &fr);
	if (fr.n_rx_info == 0 && u->frame == NULL)
		return; /* nothing that could be shown: counted only */
	if (parsed) {
		fr.f_type = f_type_of(u);
		if (lw_mtype_is_data_up(u->up.phy.mtype))
			set_data(u, &fr, addr);
		else if (u->up.phy.mtype == LW_MTYPE_JOIN_REQUEST)
			fr.dev_eui = lw_dev_eui_print(u->up.phy.u.join_request.dev_eui, eui);
		else
			fr.dev_eui = lw_dev_eui_print(u->up.phy.u.rejoin.dev_eui, eui);
		fr.dr = u->up.dr;
	} else if (u->up.phy.mtype == LW_MTYPE_PROPRIETARY) {
		fr.f_type = COMMON__FTYPE__PROPRIETARY;
	}
	if (u->dev != NULL)
		fr.dev_eui = lw_dev_eui_print(u->dev->dev_eui, eui);
	else if (u->c.reason == LONGWAVE__V1__REASON__UNKNOWN_DEVICE)
		fr.dev_eui = (char *)(uintptr_t) ""; /* only where its gateways are looked at */
	fr.outcome = u->c.outcome;
	fr.reason = u->c.reason;
	fr.detail = u->c.detail[0] != '\0' || u->c.n_notes == 0 ? u->c.detail : (char *)(uintptr_t)u->c.note[0].text;
	fr.deduplication_id = u->dedup_id;
	fr.region_config_id = (char *)(uintptr_t)u->rc->id;
	set_commands(&u->c.arena, &fr, LW_UP, u->mac_commands);
	set_steps(&u->c, &fr);
	log->frame(log->self, &fr);
	if (u->n_hidden > 0)
		record_hidden(u);
}

void ns_record_tx(struct ns_tx *tx, struct ns_ctx *c, ns_outcome outcome, ns_reason reason, int taken,
		  const char *detail)
{
	const struct ns_log_port *log = &tx->f->ports->log;
	Longwave__Ns__V1__Frame fr = LONGWAVE__NS__V1__FRAME__INIT;
	Gw__DownlinkTxInfo *info[2];
	char eui[LW_EUI_TEXT];
	char addr[LW_DEVADDR_TEXT];
	char gw[LW_EUI_TEXT];
	char group[LW_UUID_TEXT];
	const struct ns_down_frame *f = &tx->frame[taken >= 0 ? taken : 0];
	fr.time = ns_timestamp(&c->arena, ns_now(tx->f));
	if (tx->is_multicast)
		fr.multicast_group_id = lw_uuid_print(tx->group_id, group);
	else if (!tx->is_proprietary)
		fr.dev_eui = lw_dev_eui_print(tx->dev_eui, eui);
	if (!tx->is_proprietary)
		fr.dev_addr = lw_devaddr_print(tx->devaddr, addr);
	fr.f_type = tx->is_proprietary ? COMMON__FTYPE__PROPRIETARY
		    : tx->is_join      ? COMMON__FTYPE__JOIN_ACCEPT
		    : f->confirmed     ? COMMON__FTYPE__CONFIRMED_DATA_DOWN
				       : COMMON__FTYPE__UNCONFIRMED_DATA_DOWN;
	fr.phy_payload.data = (uint8_t *)(uintptr_t)f->phy;
	fr.phy_payload.len = f->n;
	if (tx->n_gw > 0) {
		for (unsigned i = 0; i < tx->n_frames; i++)
			info[fr.n_downlink_tx_info++] =
				ns_tx_info(&c->arena, &tx->frame[i].window, &tx->gw[tx->cur].rx);
		fr.downlink_tx_info = info;
		fr.gateway_id = lw_gateway_id_print(tx->gw[tx->cur].rx.gateway_id, gw);
	}
	fr.downlink_id = tx->record_id;
	fr.taken = taken;
	fr.f_cnt = f->f_cnt;
	fr.f_port = f->f_port;
	fr.dr = f->window.dr;
	fr.confirmed = f->confirmed;
	fr.ack = tx->ack;
	fr.adr = !tx->is_join && !tx->is_multicast && !tx->is_proprietary && !tx->rc->adr_disabled;
	fr.outcome = outcome;
	fr.reason = reason;
	if (detail != NULL)
		fr.detail = (char *)(uintptr_t)detail;
	fr.deduplication_id = tx->dedup_id;
	fr.region_config_id = (char *)(uintptr_t)tx->rc->id;
	set_commands(&c->arena, &fr, LW_DOWN, lw_span(tx->mac_bytes, tx->n_mac_bytes));
	struct ns_looked_at looked = ns_tx_looked_at(tx);
	const char *line = ns_why_considered(&c->arena, &looked, &fr);
	const char *asked = ns_why_asked(&c->arena, &looked);
	if (asked != NULL && detail == NULL && tx->n_offers > 1)
		fr.detail = (char *)(uintptr_t)asked;
	set_steps(c, &fr);
	set_text(&fr, "send", line);
	set_text(&fr, "read", asked);
	log->frame(log->self, &fr);
}

void ns_record_no_downlink(struct ns_down *d)
{
	const struct ns_log_port *log = &d->c.f->ports->log;
	Longwave__Ns__V1__Frame fr = LONGWAVE__NS__V1__FRAME__INIT;
	char eui[LW_EUI_TEXT];
	char addr[LW_DEVADDR_TEXT];
	fr.time = ns_timestamp(&d->c.arena, ns_now(d->c.f));
	fr.dev_eui = lw_dev_eui_print(d->dev_eui, eui);
	if (d->dev != NULL && d->dev->has_session)
		fr.dev_addr = lw_devaddr_print(d->dev->session.devaddr, addr);
	fr.f_type = COMMON__FTYPE__UNCONFIRMED_DATA_DOWN;
	fr.taken = -1;
	fr.ack = d->ack;
	fr.outcome = d->c.outcome;
	fr.reason = d->c.reason;
	fr.detail = d->c.detail;
	fr.deduplication_id = d->dedup_id;
	if (d->rc != NULL)
		fr.region_config_id = (char *)(uintptr_t)d->rc->id;
	set_steps(&d->c, &fr);
	if (d->plan != NULL) {
		struct ns_looked_at looked = ns_down_looked_at(d);
		set_text(&fr, "decide", ns_why_considered(&d->c.arena, &looked, &fr));
	}
	log->frame(log->self, &fr);
}

void ns_record_gone(struct ns_down *d, const struct ns_gone *g)
{
	const struct ns_log_port *log = &d->c.f->ports->log;
	Longwave__Ns__V1__Frame fr = LONGWAVE__NS__V1__FRAME__INIT;
	char eui[LW_EUI_TEXT];
	char addr[LW_DEVADDR_TEXT];
	fr.time = ns_timestamp(&d->c.arena, ns_now(d->c.f));
	fr.dev_eui = lw_dev_eui_print(d->dev_eui, eui);
	fr.dev_addr = lw_devaddr_print(d->dev->session.devaddr, addr);
	fr.f_type = g->confirmed ? COMMON__FTYPE__CONFIRMED_DATA_DOWN : COMMON__FTYPE__UNCONFIRMED_DATA_DOWN;
	fr.taken = -1;
	fr.f_cnt = g->f_cnt;
	fr.f_port = g->f_port;
	fr.confirmed = g->confirmed;
	fr.outcome = LONGWAVE__V1__OUTCOME__DROPPED;
	fr.reason = g->reason;
	fr.detail = (char *)(uintptr_t)g->text;
	fr.deduplication_id = d->dedup_id;
	fr.region_config_id = (char *)(uintptr_t)d->rc->id;
	log->frame(log->self, &fr);
}
