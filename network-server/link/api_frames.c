/* The frame log as the API shows it: what was stored, then what is new. */
#include <stdlib.h>
#include <string.h>

#include "common/base/time.h"
#include "common/base/xmalloc.h"
#include "common/runtime/loop.h"
#include "network-server/domain/cadence.h"
#include "network-server/link/api_impl.h"
#include "network-server/link/frame_log.h"

#define DEFAULT_LIMIT 50
#define MAX_LIMIT 1000
#define LIST_MS 5000 /* Redis away: then there is no end of the history */

struct frame_call {
	struct grpc_call *call;
	struct rt_loop *loop;
	const Longwave__Ns__V1__StreamFramesRequest *req;
	struct ns_frame_follow *follow;
	bool list;
	struct rt_timer timer;
	Longwave__Ns__V1__ListFramesResponse answer;
	size_t cap;
};

/* Stream ids are milliseconds-number. */
static bool after(const char *id, const char *than)
{
	char *a_end, *b_end;
	unsigned long long a = strtoull(id, &a_end, 10), b = strtoull(than, &b_end, 10);
	if (a != b)
		return a > b;
	return (*a_end ? strtoull(a_end + 1, NULL, 10) : 0) > (*b_end ? strtoull(b_end + 1, NULL, 10) : 0);
}

static void on_frame(void *arg, Longwave__Ns__V1__Frame *frame)
{
	struct frame_call *f = arg;
	if (f->req->only_dropped && frame->outcome != LONGWAVE__V1__OUTCOME__DROPPED)
		return;
	if (f->req->after_id[0] && !after(frame->id, f->req->after_id))
		return;
	if (!f->list) {
		/* A reader who does not keep up misses frames: the log is for people. */
		if (grpc_call_writable(f->call))
			grpc_call_send(f->call, &frame->base);
		return;
	}
	if (f->answer.n_frames == f->cap)
		return;
	/* The frame is the log's; the answer keeps a copy. */
	size_t n = longwave__ns__v1__frame__get_packed_size(frame);
	uint8_t *bytes = lw_xmalloc(n);
	longwave__ns__v1__frame__pack(frame, bytes);
	f->answer.frames[f->answer.n_frames++] = longwave__ns__v1__frame__unpack(NULL, n, bytes);
	free(bytes);
}

static void end(struct frame_call *f)
{
	rt_timer_stop(&f->timer);
	ns_frame_log_unfollow(f->follow);
	for (size_t i = 0; i < f->answer.n_frames; i++)
		longwave__ns__v1__frame__free_unpacked(f->answer.frames[i], NULL);
	free(f->answer.frames);
	free(f);
}

struct cadence {
	Longwave__Ns__V1__Cadence msg;
	Google__Protobuf__Timestamp last, next;
};

static void set_time(Google__Protobuf__Timestamp *t, int64_t ns)
{
	struct lw_sec_nanos at = lw_split_ns(ns);
	google__protobuf__timestamp__init(t);
	t->seconds = at.sec;
	t->nanos = at.nanos;
}

/* NULL: the device has no rhythm, or too little is known of it. */
static Longwave__Ns__V1__Cadence *cadence(const struct frame_call *f, struct cadence *out)
{
	int64_t times[NS_CADENCE_MAX];
	struct ns_cadence c;
	size_t n = 0;
	for (size_t i = f->answer.n_frames; i > 0 && n < NS_CADENCE_MAX; i--) {
		const Longwave__Ns__V1__Frame *fr = f->answer.frames[i - 1];
		bool data = fr->f_type == COMMON__FTYPE__UNCONFIRMED_DATA_UP ||
			    fr->f_type == COMMON__FTYPE__CONFIRMED_DATA_UP;
		if (fr->uplink && data && fr->outcome == LONGWAVE__V1__OUTCOME__DELIVERED && fr->time)
			times[NS_CADENCE_MAX - ++n] = lw_join_ns(fr->time->seconds, fr->time->nanos);
	}
	if (!ns_cadence_of(times + NS_CADENCE_MAX - n, n, rt_loop_now_ns(f->loop), &c))
		return NULL;
	longwave__ns__v1__cadence__init(&out->msg);
	out->msg.interval_s = (uint32_t)((c.interval_ns + LW_NS_PER_S / 2) / LW_NS_PER_S);
	out->msg.missing = c.missing;
	set_time(&out->last, c.last_ns);
	set_time(&out->next, c.next_ns);
	out->msg.last_uplink = &out->last;
	out->msg.next_expected = &out->next;
	return &out->msg;
}

static void on_caught_up(void *arg)
{
	struct frame_call *f = arg;
	struct cadence c;
	if (!f->list)
		return;
	if (f->req->dev_eui[0] && !f->req->only_dropped)
		f->answer.cadence = cadence(f, &c);
	grpc_call_reply(f->call, &f->answer.base);
	f->answer.cadence = NULL;
	end(f);
}

static void on_cancel(struct grpc_call *c)
{
	struct frame_call *f = grpc_call_user(c);
	grpc_call_finish(c, GRPC_CANCELLED, NULL);
	if (f)
		end(f);
}

static const struct grpc_call_events EVENTS = {.cancel = on_cancel};

static void on_list_timeout(struct rt_timer *t, void *arg)
{
	struct frame_call *f = arg;
	(void)t;
	grpc_call_finish(f->call, GRPC_UNAVAILABLE, "the frame log does not answer");
	end(f);
}

static void begin(struct ns_api *a, struct grpc_call *c, const ProtobufCMessage *msg, bool list)
{
	const Longwave__Ns__V1__StreamFramesRequest *req = (const Longwave__Ns__V1__StreamFramesRequest *)msg;
	struct lw_dev_eui dev;
	struct lw_gateway_id gw;
	char key[LW_EUI_TEXT];
	bool by_gateway = req->gateway_id[0] != 0;
	if (by_gateway == (req->dev_eui[0] != 0)) {
		grpc_call_finish(c, GRPC_INVALID_ARGUMENT, "exactly one of dev_eui and gateway_id is wanted");
		return;
	}
	if (by_gateway ? lw_gateway_id_parse(&gw, req->gateway_id) : lw_dev_eui_parse(&dev, req->dev_eui)) {
		grpc_call_finish(c, GRPC_INVALID_ARGUMENT, "not an EUI of 16 hex digits");
		return;
	}
	if (by_gateway)
		lw_gateway_id_print(gw, key);
	else
		lw_dev_eui_print(dev, key);
	if (list && !ns_frame_log_is_up(a->o.frame_log)) {
		grpc_call_finish(c, GRPC_UNAVAILABLE, "the frame log is away");
		return;
	}
	struct frame_call *f = lw_xcalloc(1, sizeof(*f));
	rt_timer_init(&f->timer, a->o.loop, "list_frames", on_list_timeout, f);
	f->call = c;
	f->loop = a->o.loop;
	f->req = req;
	f->list = list;
	longwave__ns__v1__list_frames_response__init(&f->answer);
	size_t limit = req->limit ? req->limit : DEFAULT_LIMIT;
	limit = limit < MAX_LIMIT ? limit : MAX_LIMIT;
	f->cap = limit;
	f->answer.frames = list ? lw_xcalloc(limit, sizeof(*f->answer.frames)) : NULL;
	f->follow = ns_frame_log_follow(a->o.frame_log, by_gateway ? NULL : key, by_gateway ? key : NULL, limit,
					on_frame, on_caught_up, f);
	if (!f->follow) {
		grpc_call_finish(c, GRPC_FAILED_PRECONDITION, "this network-server keeps no frame log");
		end(f);
		return;
	}
	if (list)
		rt_timer_start(&f->timer, LIST_MS);
	grpc_call_set_user(c, f);
	grpc_call_set_events(c, &EVENTS);
}

void ns_api_stream_frames(struct grpc_call *c, const ProtobufCMessage *req, void *arg)
{
	begin(arg, c, req, false);
}

void ns_api_list_frames(struct grpc_call *c, const ProtobufCMessage *req, void *arg)
{
	begin(arg, c, req, true);
}
