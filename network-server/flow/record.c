/* The frame log's records: one for each uplink, one for each downlink with its latest state. */
#include <string.h>

#include "network-server/flow/internal.h"

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
		fr->steps[i] = &v[i];
	}
	fr->n_steps = c->n_steps;
}

#define COMMANDS_MAX 32

static void set_commands(struct lw_arena *a, Longwave__Ns__V1__Frame *fr, enum lw_dir dir, struct lw_span commands)
{
	struct lw_mac_iter it;
	struct lw_mac_cmd cmd;
	if (commands.n == 0)
		return;
	fr->mac_commands = LW_ARENA_ARRAY(a, Longwave__Ns__V1__MacCommand *, COMMANDS_MAX);
	if (fr->mac_commands == NULL)
		return;
	lw_mac_iter_init(&it, dir, commands);
	while (fr->n_mac_commands < COMMANDS_MAX && lw_mac_iter_next(&it, &cmd) == 1) {
		char text[96];
		Longwave__Ns__V1__MacCommand *m = LW_ARENA_NEW(a, Longwave__Ns__V1__MacCommand);
		if (m == NULL)
			return;
		longwave__ns__v1__mac_command__init(m);
		m->cid = cmd.cid;
		m->uplink = dir == LW_UP;
		m->name = (char *)(uintptr_t)lw_mac_cmd_name(cmd.cid, dir);
		m->text = lw_arena_strdup(a, ns_mac_text(&cmd, text, sizeof(text)));
		if (m->text == NULL)
			return;
		fr->mac_commands[fr->n_mac_commands++] = m;
	}
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
		fr.f_type =
			(Common__FType)(u->up.phy.mtype == LW_MTYPE_JOIN_REQUEST   ? COMMON__FTYPE__JOIN_REQUEST
					: u->up.phy.mtype == LW_MTYPE_CONFIRMED_UP ? COMMON__FTYPE__CONFIRMED_DATA_UP
					: u->up.phy.mtype == LW_MTYPE_UNCONFIRMED_UP
						? COMMON__FTYPE__UNCONFIRMED_DATA_UP
						: COMMON__FTYPE__REJOIN_REQUEST);
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
	fr.detail = u->c.detail;
	fr.deduplication_id = u->dedup_id;
	fr.region_config_id = (char *)(uintptr_t)u->rc->id;
	set_commands(&u->c.arena, &fr, LW_UP, u->mac_commands);
	set_steps(&u->c, &fr);
	log->frame(log->self, &fr);
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
	const struct ns_down_frame *f = &tx->frame[taken >= 0 ? taken : 0];
	fr.time = ns_timestamp(&c->arena, ns_now(tx->f));
	fr.dev_eui = lw_dev_eui_print(tx->dev_eui, eui);
	fr.dev_addr = lw_devaddr_print(tx->devaddr, addr);
	fr.f_type = tx->is_join    ? COMMON__FTYPE__JOIN_ACCEPT
		    : f->confirmed ? COMMON__FTYPE__CONFIRMED_DATA_DOWN
				   : COMMON__FTYPE__UNCONFIRMED_DATA_DOWN;
	fr.phy_payload.data = (uint8_t *)(uintptr_t)f->phy;
	fr.phy_payload.len = f->n;
	if (tx->n_gw > 0) {
		for (unsigned i = 0; i < tx->n_frames; i++)
			info[fr.n_downlink_tx_info++] = ns_tx_info(&c->arena, &tx->frame[i].window, &tx->gw[tx->cur].rx);
		fr.downlink_tx_info = info;
		fr.gateway_id = lw_gateway_id_print(tx->gw[tx->cur].rx.gateway_id, gw);
	}
	fr.downlink_id = tx->downlink_id;
	fr.taken = taken;
	fr.f_cnt = f->f_cnt;
	fr.f_port = f->f_port;
	fr.dr = f->window.dr;
	fr.confirmed = f->confirmed;
	fr.ack = tx->ack;
	fr.adr = !tx->is_join && !tx->rc->adr_disabled;
	fr.outcome = outcome;
	fr.reason = reason;
	if (detail != NULL)
		fr.detail = (char *)(uintptr_t)detail;
	fr.deduplication_id = tx->dedup_id;
	fr.region_config_id = (char *)(uintptr_t)tx->rc->id;
	set_commands(&c->arena, &fr, LW_DOWN, lw_span(tx->mac_bytes, tx->n_mac_bytes));
	set_steps(c, &fr);
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
	log->frame(log->self, &fr);
}
