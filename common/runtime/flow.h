/* A flow runs many contexts through one ordered table of named steps, a batch at a time.
 *
 * A context enters at step 0 and only moves forward (but for RT_FLOW_AGAIN). Once per loop turn the runner walks the
 * steps in order; everything waiting at a step goes through together. There are three kinds of step: pure  sees one
 * context, does no I/O, reads no clock; testable with a struct and a call io    sees the whole batch; arranges exactly
 * one rt_flow_resume() per context, now or later key   names what must not overlap from here to the end of the flow:
 * contexts with an equal key pass one after the other, in order of arrival The runner brings limits (contexts in
 * flight, batch size, deadline per context), counters per step, a trace of chosen contexts. It never logs frames and
 * never frees a context: on_end does. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/list.h"
#include "common/runtime/loop.h"

struct rt_flow;
struct rt_metrics;

/* A step that has made an effect durable sets deadline_ns to this, so that the rest of the flow is not cut off. */
#define RT_FLOW_NO_DEADLINE INT64_MAX

/* Embedded as the FIRST member of the caller's context, zeroed before rt_flow_enter(). `drop_reason`, `deadline_ns` and
 * `traced` are the caller's; the rest is the runner's. */
struct rt_flow_ctx {
	struct lw_list link;
	struct rt_flow *flow;
	uint64_t key;
	int64_t enter_ns;     /* monotonic */
	int64_t deadline_ns;  /* monotonic; 0: the flow's default. Set before enter or in a step */
	uint16_t step;        /* where it is now */
	uint16_t drop_reason; /* set by the step that drops; LATE by the runner */
	uint8_t state;
	bool has_key;
	bool traced;
};

enum rt_flow_rc {
	RT_FLOW_NEXT, /* on to the next step; after the last one: done */
	RT_FLOW_DROP, /* ends here, drop_reason says why */
	RT_FLOW_DONE, /* ends here as a success */
	/* Once more from the step behind the key step (without one: from the first), keeping the key: what waits for
	 * the key stays behind. For an effect that met a conflict; the caller counts how often. */
	RT_FLOW_AGAIN,
};

typedef enum rt_flow_rc rt_flow_pure_fn(struct rt_flow_ctx *c);
/* The array is borrowed for the call. `owner` is the flow's. */
typedef void rt_flow_io_fn(struct rt_flow *f, void *owner, struct rt_flow_ctx **v, size_t n);
/* False: this context needs no exclusion. */
typedef bool rt_flow_key_fn(const struct rt_flow_ctx *c, uint64_t *key);

struct rt_flow_step {
	const char *name;
	rt_flow_pure_fn *pure; /* exactly one of pure / io / key */
	rt_flow_io_fn *io;
	rt_flow_key_fn *key;
};

/* Called once for each context, last: frees or recycles it. */
typedef void rt_flow_end_fn(void *owner, struct rt_flow_ctx *c, enum rt_flow_rc rc);
/* For a traced context: it reaches this step now (once more at its end, then step is NULL). */
typedef void rt_flow_trace_fn(void *owner, struct rt_flow_ctx *c, const char *step, int64_t mono_ns);
/* The flow was full and has room again: the source may read on. */
typedef void rt_flow_room_fn(void *owner);

struct rt_flow_opts {
	const char *name; /* metric label; kept by reference, like the steps */
	const struct rt_flow_step *steps;
	size_t n_steps;
	void *owner;
	rt_flow_end_fn *on_end;
	rt_flow_trace_fn *on_trace; /* may be NULL */
	rt_flow_room_fn *on_room;   /* may be NULL */
	size_t max_in_flight;       /* 0: 65536 */
	size_t max_batch;           /* contexts per io call; 0: 1024 */
	uint32_t deadline_ms;       /* default per context; 0: none */
	uint16_t late_reason;       /* drop_reason of a context that is past its deadline */
	int order;                  /* place in the tick; 0: RT_TICK_FLOW */
};

struct rt_flow *rt_flow_new(struct rt_loop *loop, const struct rt_flow_opts *opts);
/* Contexts still inside end as dropped with their present drop_reason. An io step must not resume afterwards, so its
 * adapter goes first. */
void rt_flow_free(struct rt_flow *f);

/* Takes the context. Never refuses (a source that ignores rt_flow_full() is caught by BUG_ON at four times the cap).
 * The context moves in the next sweep. */
void rt_flow_enter(struct rt_flow *f, struct rt_flow_ctx *c);
/* Contexts in flight have reached the cap: the source should stop reading until on_room. */
bool rt_flow_full(const struct rt_flow *f);
/* From or after an io step. The context moves on in this or the next sweep; it must not be touched afterwards. One that
 * is past its deadline is dropped as late instead of moving on. */
void rt_flow_resume(struct rt_flow_ctx *c, enum rt_flow_rc rc);
/* Resumes a whole batch alike. */
void rt_flow_resume_all(struct rt_flow_ctx **v, size_t n, enum rt_flow_rc rc);
/* Sets the reason and resumes as dropped. */
void rt_flow_resume_drop(struct rt_flow_ctx *c, uint16_t reason);
/* Runs the table now; the tick does it. */
void rt_flow_sweep(struct rt_flow *f);

/* A deadline that passes while the context waits at a door or for a key drops it there; inside an io step the context
 * belongs to that step, so it is dropped when it resumes. */

size_t rt_flow_in_flight(const struct rt_flow *f);
const char *rt_flow_name(const struct rt_flow *f);
/* Name of the step the context is at. */
const char *rt_flow_step_name(const struct rt_flow_ctx *c);

struct rt_flow_stats {
	const char *step;
	uint64_t in;      /* contexts that went in */
	uint64_t batches; /* calls (io) or passes (pure, key) */
	uint64_t drops;   /* ended here as dropped, late ones included */
	uint64_t late;    /* of those, by deadline */
	uint64_t ns;      /* time in the step's functions; waiting not included */
	uint64_t waiting; /* now at the door, waiting for the key, or inside the io step */
	uint64_t max_batch;
};
size_t rt_flow_n_steps(const struct rt_flow *f);
void rt_flow_stats(const struct rt_flow *f, size_t step, struct rt_flow_stats *out);
/* Shows per-step counters as flow_step_*_total{flow=,step=} and flow_in_flight{flow=}. The flow must outlive the
 * registry, or rt_metrics_remove_flow() comes first. */
void rt_flow_register_metrics(struct rt_flow *f, struct rt_metrics *m);
