#include "network-server/domain/mac_down.h"

#include <string.h>

#include "network-server/domain/mac_params.h"

void ns_mac_down_add(struct ns_mac_down *m, const struct lw_mac_cmd *cmd)
{
	size_t at = m->n;
	if (lw_mac_append(cmd, m->bytes, &m->n, sizeof(m->bytes)) != 0)
		return;
	if (m->n_blocks > 0 && m->block[m->n_blocks - 1].cid == cmd->cid) {
		m->block[m->n_blocks - 1].len = (uint8_t)(m->block[m->n_blocks - 1].len + (m->n - at));
		return;
	}
	if (m->n_blocks == NS_MAC_BLOCKS) {
		m->n = at;
		return;
	}
	m->block[m->n_blocks].cid = cmd->cid;
	m->block[m->n_blocks].at = (uint8_t)at;
	m->block[m->n_blocks++].len = (uint8_t)(m->n - at);
}

/* Not while an earlier request of the kind waits for its answer, and not to a device that keeps refusing. The status
 * has a rhythm of its own. */
static bool is_due(const struct ns_mac_down *m, const struct ns_mac_param *p)
{
	const struct ns_session *s = &m->dev->session;
	if (p->only_11 && !ns_session_is_11(s))
		return false;
	if (ns_session_errors(s, p->cid) > m->max_error_count)
		return false;
	for (size_t i = 0; i < s->n_mac_pending; i++)
		if (s->mac_pending[i].cid == p->cid)
			return s->mac_pending[i].wait == 0 || p->cid == LW_CID_DEV_STATUS;
	return true;
}

void ns_mac_down(struct ns_mac_down *m)
{
	m->n = 0;
	m->n_blocks = 0;
	for (size_t i = 0; i < ns_mac_params_count; i++)
		if (is_due(m, &ns_mac_params[i]))
			ns_mac_params[i].want(m);
}

void ns_mac_down_limit(struct ns_mac_down *m, size_t max)
{
	while (m->n_blocks > 0 && m->n > max) {
		m->n_blocks--;
		m->n = m->block[m->n_blocks].at;
	}
}

void ns_mac_down_sent(const struct ns_mac_down *m, struct ns_session *s)
{
	for (size_t i = 0; i < m->n_blocks; i++) {
		ns_session_pending_put(s, m->block[i].cid, m->bytes + m->block[i].at, m->block[i].len);
		if (m->block[i].cid == LW_CID_DEV_STATUS)
			s->dev_status_req_at_ns = m->now_ns;
	}
}
