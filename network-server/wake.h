/* What class B and C devices have in their queues is not forgotten with the process that was about to send it: at the
 * start, and when a replica is gone, those devices are looked up page by page and tried. Decides nothing about what is
 * sent; never asks the database about a single device. */
#pragma once

#include <stdbool.h>

struct ns_flows;
struct ns_store;
struct ns_wake;
struct rt_log;
struct rt_loop;

struct ns_wake *ns_wake_new(struct rt_loop *loop, struct rt_log *log, struct ns_store *store, struct ns_flows *flows);
/* All devices with a queue, from the first on; once more after the present run when there is one. others: replicas are
 * at work that may be sending: what is half sent is left to them for a while. */
void ns_wake_all(struct ns_wake *w, bool others);
/* The daemon ends: nobody more is tried. */
void ns_wake_stop(struct ns_wake *w);
bool ns_wake_is_running(const struct ns_wake *w);
void ns_wake_free(struct ns_wake *w); /* before the flows; NULL is allowed */
