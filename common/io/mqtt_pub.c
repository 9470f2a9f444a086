/* Publishes and subscriptions of the MQTT client. */
#include <mqtt_protocol.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/bug.h"
#include "common/base/xmalloc.h"
#include "common/io/mqtt_internal.h"

/* Publishes inside the library. It walks its list of those at each acknowledgement, so the rest waits with us. */
#define MAX_IN_LIBRARY 1024

/* --- publishes -------------------------------------------------------------------------------------------------- */

static void pub_free(struct pub *p)
{
	free(p->topic);
	free(p->payload);
	free(p);
}

static void finish(struct mqtt *m, struct pub *p, int err)
{
	p->err = err;
	lw_list_push_back(&m->finished, &p->link);
}

void mqtt_call_finished(struct mqtt *m)
{
	struct lw_list *n;
	while ((n = lw_list_pop_front(&m->finished))) {
		struct pub *p = LW_CONTAINER_OF(n, struct pub, link);
		m->pending--;
		if (p->err == 0)
			m->st.acked++;
		else
			m->st.failed++;
		if (p->done)
			p->done(p->arg, p->err);
		pub_free(p);
	}
}

static int err_of(int rc)
{
	switch (rc) {
	case MOSQ_ERR_SUCCESS:
		return 0;
	case MOSQ_ERR_NO_CONN:
	case MOSQ_ERR_CONN_LOST:
		return LW_EUNAVAILABLE;
	case MOSQ_ERR_PAYLOAD_SIZE:
	case MOSQ_ERR_OVERSIZE_PACKET:
		return LW_EBIG;
	case MOSQ_ERR_NOMEM:
		return LW_ENOMEM;
	case MOSQ_ERR_INVAL:
	case MOSQ_ERR_MALFORMED_UTF8:
		return LW_EINVAL;
	case MOSQ_ERR_QOS_NOT_SUPPORTED:
	case MOSQ_ERR_RETAIN_NOT_SUPPORTED:
	case MOSQ_ERR_NOT_SUPPORTED:
		return LW_EUNSUPPORTED;
	case MOSQ_ERR_AUTH:
	case MOSQ_ERR_ACL_DENIED:
		return LW_EAUTH;
	default:
		return LW_EIO;
	}
}

static int give(struct mqtt *m, struct pub *p, const char *topic, const void *payload, size_t n, int qos, bool retain)
{
	int mid;
	mosquitto_property *props = NULL;
	if (p->again && m->o.version == MQTT_V5)
		mosquitto_property_add_string_pair(&props, MQTT_PROP_USER_PROPERTY, MQTT_AGAIN, "1");
	int rc = mosquitto_publish_v5(m->mosq, &mid, topic, (int)n, payload, qos, retain, props);
	mosquitto_property_free_all(&props);
	if (rc != MOSQ_ERR_SUCCESS)
		return err_of(rc);
	struct pub *old = lw_map_put(&m->in_library, (uint64_t)mid, p);
	BUG_ON(old != NULL);
	m->queued_packets++;
	return 0;
}

void mqtt_give_waiting(struct mqtt *m)
{
	while (!lw_list_empty(&m->waiting) && lw_map_count(&m->in_library) < MAX_IN_LIBRARY) {
		struct pub *p = LW_CONTAINER_OF(lw_list_pop_front(&m->waiting), struct pub, link);
		int err = give(m, p, p->topic, p->payload, p->n, p->qos, p->retain);
		if (err < 0)
			finish(m, p, err);
	}
}

static int publish(struct mqtt *m, const char *topic, const void *payload, size_t n, uint8_t qos, bool retain,
		   bool again, mqtt_done_fn *done, void *arg)
{
	if (qos > 2 || mosquitto_pub_topic_check(topic) != MOSQ_ERR_SUCCESS || !*topic)
		return LW_EINVAL;
	if (n > MQTT_MAX_PAYLOAD)
		return LW_EBIG;
	if (m->state != UP || m->lost)
		return LW_EUNAVAILABLE;
	if (m->pending >= m->o.max_queued)
		return LW_EFULL;
	struct pub *p = lw_xcalloc(1, sizeof(*p));
	p->done = done;
	p->arg = arg;
	p->again = again;
	if (lw_list_empty(&m->waiting) && lw_map_count(&m->in_library) < MAX_IN_LIBRARY) {
		int err = give(m, p, topic, payload, n, qos, retain);
		if (err < 0) {
			pub_free(p);
			return err;
		}
	} else {
		p->topic = lw_xstrdup(topic);
		p->payload = n ? lw_xmemdup(payload, n) : NULL;
		p->n = n;
		p->qos = qos;
		p->retain = retain;
		lw_list_push_back(&m->waiting, &p->link);
	}
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

void mqtt_on_publish(struct mosquitto *mosq, void *arg, int mid, int reason, const mosquitto_property *props)
{
	(void)mosq;
	(void)props;
	struct mqtt *m = arg;
	struct pub *p = lw_map_remove(&m->in_library, (uint64_t)mid);
	if (!p)
		return;
	int err = 0;
	if (reason == MQTT_RC_NOT_AUTHORIZED)
		err = LW_EAUTH;
	else if (reason == MQTT_RC_QUOTA_EXCEEDED)
		err = LW_ELIMIT;
	else if (reason >= 0x80)
		err = LW_EPROTO;
	else if (reason == MQTT_RC_NO_MATCHING_SUBSCRIBERS && m->o.report_unheard)
		err = LW_ENOTFOUND;
	finish(m, p, err);
}

void mqtt_fail_all(struct mqtt *m, int err)
{
	size_t it = 0;
	uint64_t mid;
	void *value;
	while (lw_map_next(&m->in_library, &it, &mid, &value))
		finish(m, value, err);
	lw_map_clear(&m->in_library);
	struct lw_list *n;
	while ((n = lw_list_pop_front(&m->waiting)))
		finish(m, LW_CONTAINER_OF(n, struct pub, link), err);
}

/* --- subscriptions ---------------------------------------------------------------------------------------------- */

static void send_subscribe(struct mqtt *m, struct sub *s)
{
	s->confirmed = false;
	int rc = mosquitto_subscribe(m->mosq, &s->mid, s->filter, s->qos);
	if (rc != MOSQ_ERR_SUCCESS)
		RT_LOG_ERROR(m->log, "mqtt subscribe failed", rt_str("filter", s->filter),
			     rt_str("detail", mosquitto_strerror(rc)));
	m->queued_packets++;
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
	if (qos > 2 || !*filter || mosquitto_sub_topic_check(filter) != MOSQ_ERR_SUCCESS)
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
	if (m->state == UP) {
		mosquitto_unsubscribe(m->mosq, NULL, filter);
		m->queued_packets++;
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

void mqtt_on_subscribe(struct mosquitto *mosq, void *arg, int mid, int n, const int *granted)
{
	(void)mosq;
	struct mqtt *m = arg;
	LW_LIST_FOREACH (e, tmp, &m->subs) {
		struct sub *s = LW_CONTAINER_OF(e, struct sub, link);
		if (s->mid != mid || s->confirmed)
			continue;
		s->confirmed = n > 0 && granted[0] < 0x80;
		if (!s->confirmed)
			RT_LOG_ERROR(m->log, "mqtt subscription refused", rt_str("filter", s->filter));
	}
}

void mqtt_subscribe_all(struct mqtt *m)
{
	LW_LIST_FOREACH (n, tmp, &m->subs)
		send_subscribe(m, LW_CONTAINER_OF(n, struct sub, link));
}

void mqtt_forget_subscriptions(struct mqtt *m)
{
	LW_LIST_FOREACH (n, tmp, &m->subs)
		sub_free(LW_CONTAINER_OF(n, struct sub, link));
}
