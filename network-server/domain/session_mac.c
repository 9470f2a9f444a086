/* The MAC part of a session: what was asked and not answered, what was refused, and how often. */
#include <string.h>

#include "common/base/err.h"
#include "network-server/domain/session.h"

void ns_session_mac_reset(struct ns_session *s)
{
	s->tx_power_index = 0;
	s->nb_trans = 1;
	s->min_tx_power_index = 0;
	s->n_adr_history = 0;
	s->n_mac_pending = 0;
	s->n_mac_errors = 0;
	s->n_mac_rejected = 0;
	s->uplink_dwell_400ms = 0;
	s->downlink_dwell_400ms = 0;
	s->uplink_eirp_index = 0;
	s->rejoin_enabled = false;
	s->max_duty_cycle = 0;
	s->adr_ack_limit_exp = 6; /* ADR_ACK_LIMIT 64, ADR_ACK_DELAY 32 (RP002) */
	s->adr_ack_delay_exp = 5;
	s->beacon_hz = 0;
	memset(s->dl_hz, 0, sizeof(s->dl_hz));
}

struct ns_mac_pending *ns_session_pending(struct ns_session *s, uint8_t cid)
{
	for (size_t i = 0; i < s->n_mac_pending; i++)
		if (s->mac_pending[i].cid == cid)
			return &s->mac_pending[i];
	return NULL;
}

static uint16_t first_wait(uint8_t tries)
{
	return (uint16_t)(1u << (tries - 1 < 15 ? tries - 1 : 15));
}

void ns_session_pending_put(struct ns_session *s, uint8_t cid, const uint8_t *bytes, size_t n)
{
	struct ns_mac_pending *p = ns_session_pending(s, cid);
	if (n > NS_MAC_PENDING_LEN)
		return;
	if (p == NULL) {
		if (s->n_mac_pending == NS_MAC_PENDING)
			return;
		p = &s->mac_pending[s->n_mac_pending++];
		memset(p, 0, sizeof(*p));
		p->cid = cid;
	}
	uint8_t tries = p->cid == cid && p->tries < 255 ? (uint8_t)(p->tries + 1) : 1;
	memset(p, 0, sizeof(*p));
	p->cid = cid;
	p->len = (uint8_t)n;
	p->tries = tries;
	p->wait = first_wait(tries);
	if (n > 0)
		memcpy(p->bytes, bytes, n);
}

bool ns_session_unsettled(const struct ns_session *s, uint8_t cid)
{
	for (size_t i = 0; i < s->n_mac_pending; i++)
		if (s->mac_pending[i].cid == cid)
			return s->answered && s->mac_pending[i].wait == first_wait(s->mac_pending[i].tries);
	return false;
}

void ns_session_pending_tick(struct ns_session *s)
{
	for (size_t i = 0; i < s->n_mac_pending; i++)
		if (s->mac_pending[i].wait > 0)
			s->mac_pending[i].wait--;
}

/* Refusals come from gateways that have too much to send, so asking with every uplink would feed them. */
#define REFUSED_TRIES 5 /* after 16 uplinks at the latest */

void ns_session_pending_refused(struct ns_session *s, const uint8_t *cids, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct ns_mac_pending *p = ns_session_pending(s, cids[i]);
		if (p == NULL || p->tries <= REFUSED_TRIES)
			continue;
		p->tries = REFUSED_TRIES;
		if (p->wait > 1u << (REFUSED_TRIES - 1))
			p->wait = 1u << (REFUSED_TRIES - 1);
	}
}

bool ns_session_rejected(const struct ns_session *s, enum ns_mac_what what, uint64_t value)
{
	for (size_t i = 0; i < s->n_mac_rejected; i++)
		if (s->mac_rejected[i].what == what && s->mac_rejected[i].value == value)
			return true;
	return false;
}

void ns_session_reject(struct ns_session *s, enum ns_mac_what what, uint64_t value)
{
	if (ns_session_rejected(s, what, value))
		return;
	if (s->n_mac_rejected == NS_MAC_REJECTED) {
		memmove(s->mac_rejected, s->mac_rejected + 1, (NS_MAC_REJECTED - 1) * sizeof(s->mac_rejected[0]));
		s->n_mac_rejected--;
	}
	struct ns_mac_rejected *r = &s->mac_rejected[s->n_mac_rejected++];
	memset(r, 0, sizeof(*r));
	r->what = (uint8_t)what;
	r->value = value;
}

void ns_session_pending_remove(struct ns_session *s, uint8_t cid)
{
	struct ns_mac_pending *p = ns_session_pending(s, cid);
	if (p == NULL)
		return;
	*p = s->mac_pending[--s->n_mac_pending];
}

static struct ns_mac_errors *find_errors(struct ns_session *s, uint8_t cid)
{
	for (size_t i = 0; i < s->n_mac_errors; i++)
		if (s->mac_errors[i].cid == cid)
			return &s->mac_errors[i];
	return NULL;
}

unsigned ns_session_errors(const struct ns_session *s, uint8_t cid)
{
	for (size_t i = 0; i < s->n_mac_errors; i++)
		if (s->mac_errors[i].cid == cid)
			return s->mac_errors[i].count;
	return 0;
}

void ns_session_error_add(struct ns_session *s, uint8_t cid)
{
	struct ns_mac_errors *e = find_errors(s, cid);
	if (e == NULL) {
		if (s->n_mac_errors == NS_MAC_ERRORS)
			return;
		e = &s->mac_errors[s->n_mac_errors++];
		*e = (struct ns_mac_errors){.cid = cid};
	}
	if (e->count < UINT8_MAX)
		e->count++;
}

void ns_session_error_clear(struct ns_session *s, uint8_t cid)
{
	struct ns_mac_errors *e = find_errors(s, cid);
	if (e != NULL)
		*e = s->mac_errors[--s->n_mac_errors];
}

int ns_session_mac_enqueue(struct ns_session *s, struct lw_span commands, bool front)
{
	size_t n = s->mac_queue_len;
	if (commands.n > NS_MAC_QUEUE_MAX - n)
		return LW_EFULL;
	if (commands.n == 0)
		return 0;
	if (front)
		memmove(s->mac_queue + commands.n, s->mac_queue, n);
	memcpy(s->mac_queue + (front ? 0 : n), commands.p, commands.n);
	s->mac_queue_len = (uint8_t)(n + commands.n);
	return 0;
}
