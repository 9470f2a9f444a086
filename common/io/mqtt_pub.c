/* Publishes and subscriptions of the MQTT client. */
#include <stdlib.h>
#include <string.h>

#include "common/base/bug.h"
#include "common/base/xmalloc.h"
#include "common/io/mqtt_internal.h"

/* --- rings ------------------------------------------------------------------------------------------------------ */

static struct pub *ring_at(struct pub_ring *r, size_t i)
{
	return &r->v[(r->head + i) & (r->cap - 1)];
}

static struct pub *ring_push(struct pub_ring *r)
{
	if (r->n == r->cap) {
		size_t cap = r->cap ? 2 * r->cap : 64;
		struct pub *v = lw_xreallocarray(NULL, cap, sizeof(*v));
		for (size_t i = 0; i < r->n; i++)
			v[i] = *ring_at(r, i);
		free(r->v);
		*r = (struct pub_ring){.v = v, .cap = cap, .n = r->n};
	}
	return ring_at(r, r->n++);
}

static void ring_pop(struct pub_ring *r)
{
	r->head = (r->head + 1) & (r->cap - 1);
	r->n--;
}

/* --- publishes -------------------------------------------------------------------------------------------------- */

static void done_with(struct mqtt *m, mqtt_done_fn *done, void *arg, int err)
{
	m->pending--;
	if (err == 0)
		m->st.acked++;
	else
		m->st.failed++;
	if (done)
		done(arg, err);
}

static uint16_t mid_at(const struct mqtt *m, size_t i)
{
	return (uint16_t)((m->first_mid - 1u + i) % MQTT_PUB_IDS + 1);
}

static void give(struct mqtt *m, struct mqtt_wire_publish *p, mqtt_done_fn *done, void *arg)
{
	if (p->qos) {
		p->mid = mid_at(m, m->sent.n);
		if (m->sent.n == 0)
			m->front_since_ns = rt_loop_mono_ns(m->loop);
	}
	mqtt_wire_put_publish(&m->out, m->o.version == MQTT_V5, p);
	BUG_ON(m->out.err != 0);
	*ring_push(p->qos ? &m->sent : &m->written) =
		(struct pub){.done = done, .arg = arg, .end = m->n_out + (m->out.n - m->out_at)};
	m->n_urgent++;
}

static bool window_open(const struct mqtt *m)
{
	return m->sent.n < m->window;
}

void mqtt_give_waiting(struct mqtt *m)
{
	while (!lw_list_empty(&m->waiting) && window_open(m)) {
		struct waiting_pub *w = LW_CONTAINER_OF(lw_list_pop_front(&m->waiting), struct waiting_pub, link);
		give(m, &w->m, w->done, w->arg);
		free(w);
	}
}

static void wait_for_room(struct mqtt *m, const struct mqtt_wire_publish *p, mqtt_done_fn *done, void *arg)
{
	struct waiting_pub *w = lw_xmalloc(sizeof(*w) + p->topic.n + p->payload.n);
	*w = (struct waiting_pub){.done = done, .arg = arg, .m = *p};
	memcpy(w->bytes, p->topic.p, p->topic.n);
	if (p->payload.n)
		memcpy(w->bytes + p->topic.n, p->payload.p, p->payload.n);
	w->m.topic.p = w->bytes;
	w->m.payload.p = w->bytes + p->topic.n;
	lw_list_push_back(&m->waiting, &w->link);
}

static int publish(struct mqtt *m, const char *topic, const void *payload, size_t n, uint8_t qos, bool retain,
		   bool again, mqtt_done_fn *done, void *arg)
{
	if (qos > 1 || !mqtt_topic_ok(topic))
		return LW_EINVAL;
	struct mqtt_wire_publish p = {.topic = lw_span_str(topic),
				      .payload = lw_span(payload, n),
				      .qos = qos,
				      .retain = retain,
				      .again = again && m->o.version == MQTT_V5};
	if (n > MQTT_PACKET_MAX / 2)
		return LW_EBIG;
	if (m->state != UP || m->lost)
		return LW_EUNAVAILABLE;
	/* More would end the session (5.0, 3.2.2.3.4 and 3.2.2.3.5). */
	p.qos = qos < m->max_qos ? qos : m->max_qos;
	p.retain = retain && m->retains;
	if (m->max_packet && mqtt_wire_publish_size(&p) > m->max_packet)
		return LW_EBIG;
	if (m->pending >= m->o.max_queued)
		return LW_EFULL;
	if (lw_list_empty(&m->waiting) && window_open(m))
		give(m, &p, done, arg);
	else
		wait_for_room(m, &p, done, arg);
	m->pending++;
	m->st.published++;
	rt_loop_again(m->loop);
	return 0;
}

int mqtt_publish(struct mqtt *m, const char *topic, const void *payload, size_t n, uint8_t qos, bool retain,
		 mqtt_done_fn *done, void *arg)
{
	return publish(m, topic, payload, n, qos, retain, false, done, arg);
}

int mqtt_republish(struct mqtt *m, const char *topic, const void *payload, size_t n, uint8_t qos, mqtt_done_fn *done,
		   void *arg)
{
	return publish(m, topic, payload, n, qos, false, true, done, arg);
}

static int err_of(const struct mqtt *m, uint8_t reason)
{
	switch (reason) {
	case MQTT_NO_MATCHING_SUBSCRIBERS:
		return m->o.report_unheard ? LW_ENOTFOUND : 0;
	case MQTT_NOT_AUTHORIZED:
		return LW_EAUTH;
	case MQTT_QUOTA_EXCEEDED:
		return LW_ELIMIT;
	default:
		return reason >= MQTT_REFUSED ? LW_EPROTO : 0;
	}
}

void mqtt_acked(struct mqtt *m, uint16_t mid, uint8_t reason)
{
	size_t i = (mid + MQTT_PUB_IDS - m->first_mid) % MQTT_PUB_IDS;
	if (mid > MQTT_PUB_IDS || i >= m->sent.n)
		return;
	struct pub *p = ring_at(&m->sent, i);
	if (p->over)
		return;
	struct pub it = *p;
	p->over = true;
	while (m->sent.n && ring_at(&m->sent, 0)->over) {
		ring_pop(&m->sent);
		m->first_mid = mid_at(m, 1);
		m->front_since_ns = m->last_in_ns;
	}
	done_with(m, it.done, it.arg, err_of(m, reason));
}

void mqtt_finish_written(struct mqtt *m)
{
	while (m->written.n && ring_at(&m->written, 0)->end <= m->n_out) {
		struct pub it = *ring_at(&m->written, 0);
		ring_pop(&m->written);
		done_with(m, it.done, it.arg, 0);
	}
}

static void fail_ring(struct mqtt *m, struct pub_ring *r, int err)
{
	struct pub_ring all = *r;
	*r = (struct pub_ring){0};
	for (size_t i = 0; i < all.n; i++) {
		struct pub it = *ring_at(&all, i);
		if (!it.over)
			done_with(m, it.done, it.arg, err);
	}
	free(all.v);
}

void mqtt_fail_all(struct mqtt *m, int err)
{
	struct lw_list *n;
	fail_ring(m, &m->written, err);
	fail_ring(m, &m->sent, err);
	while ((n = lw_list_pop_front(&m->waiting))) {
		struct waiting_pub *w = LW_CONTAINER_OF(n, struct waiting_pub, link);
		done_with(m, w->done, w->arg, err);
		free(w);
	}
}

void mqtt_pub_begin(struct mqtt *m)
{
	/* Not always the same: a broker may remember ids of the connection before. */
	m->first_mid = (uint16_t)(1 + lw_rng_below(&m->rng, MQTT_PUB_IDS));
	m->window = 0;
}

/* --- subscriptions ---------------------------------------------------------------------------------------------- */

static uint16_t next_sub_mid(struct mqtt *m)
{
	m->last_sub_mid = m->last_sub_mid > MQTT_PUB_IDS && m->last_sub_mid < UINT16_MAX
				  ? (uint16_t)(m->last_sub_mid + 1)
				  : (uint16_t)(MQTT_PUB_IDS + 1);
	return m->last_sub_mid;
}

static void queued(struct mqtt *m)
{
	m->n_urgent++;
	rt_loop_again(m->loop);
}

static void send_subscribe(struct mqtt *m, struct sub *s)
{
	s->confirmed = false;
	s->asked_ns = rt_loop_mono_ns(m->loop);
	s->mid = next_sub_mid(m);
	mqtt_wire_put_subscribe(&m->out, m->o.version == MQTT_V5, s->mid, s->filter, s->qos);
	queued(m);
}

static struct sub *sub_find(struct mqtt *m, const char *filter)
{
	LW_LIST_FOREACH (n, tmp, &m->subs) {
		struct sub *s = LW_CONTAINER_OF(n, struct sub, link);
		if (strcmp(s->filter, filter) == 0)
			return s;
	}
	return NULL;
}

int mqtt_subscribe(struct mqtt *m, const char *filter, uint8_t qos)
{
	if (qos > 1 || !mqtt_filter_ok(filter))
		return LW_EINVAL;
	struct sub *s = sub_find(m, filter);
	if (!s) {
		s = lw_xcalloc(1, sizeof(*s));
		s->filter = lw_xstrdup(filter);
		lw_list_push_back(&m->subs, &s->link);
	}
	s->qos = qos;
	if (m->state == UP)
		send_subscribe(m, s);
	return 0;
}

static void sub_free(struct sub *s)
{
	lw_list_remove(&s->link);
	free(s->filter);
	free(s);
}

int mqtt_unsubscribe(struct mqtt *m, const char *filter)
{
	struct sub *s = sub_find(m, filter);
	if (!mqtt_filter_ok(filter))
		return LW_EINVAL;
	if (m->state == UP) {
		mqtt_wire_put_unsubscribe(&m->out, m->o.version == MQTT_V5, next_sub_mid(m), filter);
		queued(m);
	}
	if (!s)
		return LW_ENOTFOUND;
	sub_free(s);
	return 0;
}

bool mqtt_subscribed(const struct mqtt *m)
{
	if (m->state != UP)
		return false;
	LW_LIST_FOREACH (n, tmp, &m->subs) {
		if (!LW_CONTAINER_OF(n, struct sub, link)->confirmed)
			return false;
	}
	return true;
}

void mqtt_subscribed_to(struct mqtt *m, uint16_t mid, uint8_t code)
{
	LW_LIST_FOREACH (e, tmp, &m->subs) {
		struct sub *s = LW_CONTAINER_OF(e, struct sub, link);
		if (s->mid != mid || s->confirmed)
			continue;
		s->confirmed = code < MQTT_REFUSED;
		s->asked_ns = 0;
		if (s->confirmed && code < s->qos)
			RT_LOG_WARN(m->log, "mqtt subscription only at QoS 0: the broker may lose messages",
				    rt_str("filter", s->filter));
		if (!s->confirmed)
			RT_LOG_ERROR(m->log, "mqtt subscription refused", rt_str("filter", s->filter),
				     rt_str("detail", m->o.version == MQTT_V5 ? mqtt_reason_text(true, code) : ""));
	}
}

int64_t mqtt_subscribing_since(const struct mqtt *m)
{
	int64_t since = 0;
	LW_LIST_FOREACH (n, tmp, (struct lw_list *)(uintptr_t)&m->subs) {
		const struct sub *s = LW_CONTAINER_OF(n, struct sub, link);
		if (s->asked_ns && (!since || s->asked_ns < since))
			since = s->asked_ns;
	}
	return since;
}

void mqtt_subscribing_anew(struct mqtt *m)
{
	LW_LIST_FOREACH (n, tmp, &m->subs) {
		struct sub *s = LW_CONTAINER_OF(n, struct sub, link);
		if (s->asked_ns)
			s->asked_ns = rt_loop_mono_ns(m->loop);
	}
}

void mqtt_subscribe_all(struct mqtt *m)
{
	LW_LIST_FOREACH (n, tmp, &m->subs)
		send_subscribe(m, LW_CONTAINER_OF(n, struct sub, link));
}

void mqtt_pub_free(struct mqtt *m)
{
	LW_LIST_FOREACH (n, tmp, &m->subs)
		sub_free(LW_CONTAINER_OF(n, struct sub, link));
	free(m->sent.v);
	free(m->written.v);
}
