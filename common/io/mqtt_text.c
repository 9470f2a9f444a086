#include "common/io/mqtt_text.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "common/io/mqtt.h"

int mqtt_server_parse(const char *url, struct mqtt_server *out, struct lw_diag *diag)
{
	static const struct {
		const char *scheme;
		bool tls;
	} schemes[] = {{"tcp", false}, {"mqtt", false}, {"ssl", true}, {"tls", true}, {"mqtts", true}};
	const char *rest = strstr(url, "://");
	out->tls = false;
	if (rest) {
		size_t i = 0, n = sizeof(schemes) / sizeof(schemes[0]);
		while (i < n && (strlen(schemes[i].scheme) != (size_t)(rest - url) ||
				 strncmp(url, schemes[i].scheme, strlen(schemes[i].scheme)) != 0))
			i++;
		if (i == n) {
			lw_diag_set(diag, "\"%.80s\": the scheme must be tcp, mqtt, ssl or mqtts", url);
			return LW_EINVAL;
		}
		out->tls = schemes[i].tls;
		rest += 3;
	} else {
		rest = url;
	}
	size_t n = strlen(rest);
	if (n && rest[n - 1] == '/')
		n--;
	/* [v6]:port, or name:port where the name has no colon. */
	const char *host = rest, *port = NULL;
	size_t host_n;
	if (*rest == '[') {
		const char *close = memchr(rest, ']', n);
		host = rest + 1;
		host_n = close ? (size_t)(close - host) : 0;
		port = close && close[1] == ':' ? close + 2 : NULL;
	} else {
		const char *colon = memchr(rest, ':', n);
		host_n = colon ? (size_t)(colon - rest) : n;
		port = colon ? colon + 1 : NULL;
	}
	char *end = NULL;
	unsigned long p = out->tls ? 8883 : 1883;
	if (port) {
		p = isdigit((unsigned char)*port) ? strtoul(port, &end, 10) : 0;
		if (end != rest + n)
			p = 0;
	}
	if (host_n == 0 || host_n >= sizeof(out->host) || p == 0 || p > 65535) {
		lw_diag_set(diag, "\"%.80s\" is not scheme://host:port", url);
		return LW_EINVAL;
	}
	memcpy(out->host, host, host_n);
	out->host[host_n] = 0;
	out->port = (int)p;
	return 0;
}

bool mqtt_topic_matches(const char *filter, const char *topic)
{
	if (strncmp(filter, "$share/", 7) == 0) {
		const char *f = strchr(filter + 7, '/');
		if (!f)
			return false;
		filter = f + 1;
	}
	/* Wildcards at the start do not reach the broker's own topics. */
	if (topic[0] == '$' && filter[0] != '$')
		return false;
	for (;;) {
		size_t fn = strcspn(filter, "/"), tn = strcspn(topic, "/");
		if (fn == 1 && filter[0] == '#')
			return filter[1] == 0;
		bool any = fn == 1 && filter[0] == '+';
		if (!any && (fn != tn || memcmp(filter, topic, fn) != 0))
			return false;
		filter += fn;
		topic += tn;
		if (!*topic)
			return !*filter || strcmp(filter, "/#") == 0; /* "a/#" is also "a" */
		if (!*filter)
			return false;
		filter++;
		topic++;
	}
}
