/* Intrusive doubly linked ring. The head is a node of its own; an element embeds a node. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct lw_list {
	struct lw_list *next;
	struct lw_list *prev;
};

#define LW_LIST_INIT(name)                                                                                             \
	{                                                                                                              \
		&(name), &(name)                                                                                       \
	}
/* The structure that contains `member` at `ptr`. */
#define LW_CONTAINER_OF(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

static inline void lw_list_init(struct lw_list *l)
{
	l->next = l;
	l->prev = l;
}

static inline bool lw_list_empty(const struct lw_list *l)
{
	return l->next == l;
}

static inline void lw_list_insert_after(struct lw_list *at, struct lw_list *n)
{
	n->prev = at;
	n->next = at->next;
	at->next->prev = n;
	at->next = n;
}

static inline void lw_list_push_front(struct lw_list *head, struct lw_list *n)
{
	lw_list_insert_after(head, n);
}

static inline void lw_list_push_back(struct lw_list *head, struct lw_list *n)
{
	lw_list_insert_after(head->prev, n);
}

/* Takes the node out and leaves it as an empty ring, so that removing twice is harmless. */
static inline void lw_list_remove(struct lw_list *n)
{
	n->prev->next = n->next;
	n->next->prev = n->prev;
	lw_list_init(n);
}

/* First node, taken out; NULL when empty. */
static inline struct lw_list *lw_list_pop_front(struct lw_list *head)
{
	struct lw_list *n = head->next;
	if (n == head)
		return NULL;
	lw_list_remove(n);
	return n;
}

/* Moves all of `from` to the end of `to`; `from` becomes empty. */
static inline void lw_list_splice_back(struct lw_list *to, struct lw_list *from)
{
	if (lw_list_empty(from))
		return;
	from->next->prev = to->prev;
	to->prev->next = from->next;
	from->prev->next = to;
	to->prev = from->prev;
	lw_list_init(from);
}

/* The current node may be removed inside the loop. */
#define LW_LIST_FOREACH(node, tmp, head)                                                                               \
	for (struct lw_list *node = (head)->next, *tmp = node->next; node != (head); node = tmp, tmp = node->next)
