#include "common/io/mqtt_connector.h"

#include <errno.h>
#include <mosquitto.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "common/base/xmalloc.h"

struct mqtt_connector {
	pthread_mutex_t lock;
	bool over;
	bool abandoned;
	struct mosquitto *mosq;
	mosquitto_property *props;
	char *host;
	int port, keepalive_s;
	int fd;
	int rc;
	char text[120];
};

static void connector_free(struct mqtt_connector *c)
{
	mosquitto_property_free_all(&c->props);
	close(c->fd);
	pthread_mutex_destroy(&c->lock);
	free(c->host);
	free(c);
}

static void *on_thread(void *arg)
{
	struct mqtt_connector *c = arg;
	errno = 0;
	int rc = mosquitto_connect_bind_v5(c->mosq, c->host, c->port, c->keepalive_s, NULL, c->props);
	const char *text = rc == MOSQ_ERR_ERRNO ? strerror(errno) : mosquitto_strerror(rc);
	pthread_mutex_lock(&c->lock);
	c->rc = rc;
	snprintf(c->text, sizeof(c->text), "%s", text);
	c->over = true;
	bool abandoned = c->abandoned;
	/* Under the lock: as soon as it is released the owner may free everything. */
	ssize_t ignored = write(c->fd, &(uint64_t){1}, sizeof(uint64_t));
	(void)ignored;
	pthread_mutex_unlock(&c->lock);
	if (abandoned) {
		mosquitto_destroy(c->mosq);
		connector_free(c);
	}
	return NULL;
}

struct mqtt_connector *mqtt_connector_start(struct mosquitto *mosq, const char *host, int port, int keepalive_s,
					    struct mqtt5__property *props, int *fd)
{
	int efd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (efd < 0)
		return NULL;
	struct mqtt_connector *c = lw_xcalloc(1, sizeof(*c));
	pthread_mutex_init(&c->lock, NULL);
	c->mosq = mosq;
	c->host = lw_xstrdup(host);
	c->port = port;
	c->keepalive_s = keepalive_s;
	c->fd = efd;
	/* Signals belong to the loop's thread. */
	sigset_t all, old;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	pthread_attr_t attr;
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	pthread_t thread;
	c->props = props;
	int rc = pthread_create(&thread, &attr, on_thread, c);
	pthread_attr_destroy(&attr);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (rc != 0) {
		c->props = NULL;
		connector_free(c);
		return NULL;
	}
	*fd = efd;
	return c;
}

int mqtt_connector_finish(struct mqtt_connector *c, char *text, size_t cap)
{
	/* The thread may still hold the lock for a moment after its last write. */
	pthread_mutex_lock(&c->lock);
	int rc = c->rc;
	snprintf(text, cap, "%s", c->text);
	pthread_mutex_unlock(&c->lock);
	connector_free(c);
	return rc;
}

void mqtt_connector_abandon(struct mqtt_connector *c)
{
	pthread_mutex_lock(&c->lock);
	bool over = c->over;
	c->abandoned = true;
	pthread_mutex_unlock(&c->lock);
	if (over) {
		mosquitto_destroy(c->mosq);
		connector_free(c);
	}
}
