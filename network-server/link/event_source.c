#include "network-server/link/event_source.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/hex.h"
#include "common/base/xmalloc.h"
#include "network-server/link/event_stream.h"

#define MEMORY_MAX (16u << 20) /* bytes of events that wait in memory */

unsigned ns_event_lane(const char *dev_eui)
{
	uint8_t b[8], x = 0;
	if (strlen(dev_eui) != 16 || lw_hex_decode(dev_eui, 16, b, sizeof(b)) < 0)
		return 0;
	for (size_t i = 0; i < sizeof(b); i++)
		x ^= b[i];
	return x & (NS_LANES - 1);
}

void ns_source_drop_memory(struct ns_source *s)
{
	while (s->first)
		free(ns_source_pop(s));
}

void ns_source_deinit(struct ns_source *s)
{
	ns_source_drop_memory(s);
	free(s->handed);
	s->handed = NULL;
}

bool ns_source_keep(struct ns_source *s, const struct ns_stored_event *e)
{
	if (s->bytes + e->packed.n > MEMORY_MAX)
		return false;
	struct ns_source_event *p = lw_xmalloc(sizeof(*p) + e->packed.n);
	p->next = NULL;
	p->seq = e->seq;
	p->n = e->packed.n;
	memcpy(p->bytes, e->packed.p, e->packed.n);
	*(s->last ? &s->last->next : &s->first) = p;
	s->last = p;
	s->bytes += p->n;
	return true;
}

struct ns_source_event *ns_source_pop(struct ns_source *s)
{
	struct ns_source_event *p = s->first;
	s->first = p->next;
	if (!s->first)
		s->last = NULL;
	s->bytes -= p->n;
	return p;
}

bool ns_source_is_safe(const struct ns_source *s, uint64_t seq, unsigned lane)
{
	return seq <= s->all || seq <= s->lane[lane];
}

static const struct ns_handed *at(const struct ns_source *s, size_t i)
{
	return &s->handed[(s->head + i) & (s->cap_handed - 1)];
}

void ns_source_hand(struct ns_source *s, uint64_t seq, unsigned lane)
{
	if (s->n_handed == s->cap_handed) {
		size_t cap = s->cap_handed ? 2 * s->cap_handed : 256;
		struct ns_handed *v = lw_xcalloc(cap, sizeof(*v));
		for (size_t i = 0; i < s->n_handed; i++)
			v[i] = *at(s, i);
		free(s->handed);
		s->handed = v;
		s->head = 0;
		s->cap_handed = cap;
	}
	s->handed[(s->head + s->n_handed++) & (s->cap_handed - 1)] = (struct ns_handed){seq, lane};
}

uint64_t ns_source_settle(struct ns_source *s)
{
	while (s->n_handed && ns_source_is_safe(s, at(s, 0)->seq, at(s, 0)->lane)) {
		s->head++;
		s->n_handed--;
	}
	uint64_t safe = s->n_handed ? at(s, 0)->seq - 1 : s->sent;
	return safe > s->all ? safe : s->all;
}

bool ns_source_open_in(const struct ns_source *s, unsigned lanes)
{
	for (size_t i = 0; i < s->n_handed; i++)
		if ((lanes >> at(s, i)->lane & 1) && !ns_source_is_safe(s, at(s, i)->seq, at(s, i)->lane))
			return true;
	return false;
}

bool ns_source_claim(struct ns_source *s, const Longwave__Ns__V1__Ack *ack, uint64_t most)
{
	size_t n = strlen(s->origin);
	bool believed = true;
	for (size_t i = 0; i < ack->n_positions; i++) {
		const char *name = ack->positions[i]->origin;
		uint64_t seq = ack->positions[i]->seq;
		uint64_t *to = NULL;
		if (strncmp(name, s->origin, n) != 0)
			continue;
		if (!name[n])
			to = &s->all;
		else if (name[n] == '#' && name[n + 1] >= '0' && name[n + 1] < '0' + NS_LANES && !name[n + 2])
			to = &s->lane[name[n + 1] - '0'];
		if (to && seq > most)
			believed = false;
		else if (to && seq > *to)
			*to = seq;
	}
	return believed;
}

void ns_source_restart(struct ns_source *s)
{
	uint64_t safe = ns_source_settle(s);
	ns_source_drop_memory(s);
	s->n_handed = 0;
	s->sent = safe;
	s->overflow = false;
	s->mode = NS_SOURCE_BEHIND; /* an answer under way was meant for another one */
}
