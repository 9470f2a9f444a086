/* The queue of a multicast group keeps no key once the network-server has refused. What is around it is made here. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "app-server/api/handlers.h"
#include "app-server/store/row.h"
#include "common/base/bug.h"
#include "common/io/grpc_client.h"
#include "proto/api/multicast_group.pb-c.h"

#define KEY_HEX "000102030405060708090a0b0c0d0e0f"

static grpc_done_fn *done;
static int status_given;
static bool had_key;

static bool has_key(const struct as_call *c)
{
	static const uint8_t key[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
	return memmem(c->state, sizeof(struct lw_devaddr) + sizeof(struct lw_key), key, sizeof(key)) != NULL;
}

void as_query_text(struct as_call *c, const struct sql_stmt *stmt, const char *p,
		   void (*then)(struct as_call *c, const struct sql_result *r))
{
	(void)stmt, (void)p;
	then(c, NULL);
}

size_t sql_rows(const struct sql_result *r)
{
	(void)r;
	return 1;
}

const char *sql_text(const struct sql_result *r, size_t row, size_t col)
{
	(void)r, (void)row;
	return col == 0 ? "01020304" : KEY_HEX;
}

uint64_t grpc_client_call(struct grpc_client *g, const struct grpc_client_request *r, const ProtobufCMessage *req,
			  grpc_done_fn *fn, void *arg)
{
	(void)g, (void)r, (void)req;
	had_key = has_key(arg);
	done = fn;
	return 1;
}

void as_fail(struct as_call *c, int grpc_status, const char *fmt, ...)
{
	(void)c, (void)fmt;
	status_given = grpc_status;
}

/* Not asked for. */
void as_fail_missing(struct as_call *c, const char *id)
{
	(void)c, (void)id;
	fail();
}
void as_fail_row(struct as_call *c, const char *table, const char *id, const char *column)
{
	(void)c, (void)table, (void)id, (void)column;
	fail();
}
void as_reply(struct as_call *c, const ProtobufCMessage *msg)
{
	(void)c, (void)msg;
	fail();
}
void as_reply_empty(struct as_call *c)
{
	(void)c;
	fail();
}
void as_ns(struct as_call *c, const char *method, const ProtobufCMessage *req, const ProtobufCMessageDescriptor *output,
	   void (*then)(struct as_call *c, const ProtobufCMessage *resp))
{
	(void)c, (void)method, (void)req, (void)output, (void)then;
	fail();
}
const char *as_new_uuid(struct as_call *c)
{
	(void)c;
	return "00000000-0000-4000-8000-000000000002";
}
void *as_msg_new(struct lw_arena *a, const ProtobufCMessageDescriptor *d)
{
	(void)a, (void)d;
	return NULL;
}
ProtobufCMessage **as_msg_list(struct lw_arena *a, ProtobufCMessage *m, const char *field, size_t n)
{
	(void)a, (void)m, (void)field, (void)n;
	return NULL;
}

static void refused(as_handler_fn *fn, const void *req)
{
	struct lw_arena arena;
	struct as as;
	memset(&as, 0, sizeof(as));
	lw_arena_init(&arena, NULL, 0, 1 << 16);
	struct as_call c = {
		.as = &as, .arena = &arena, .req = req, .object_id = "00000000-0000-4000-8000-000000000001"};
	status_given = -1;
	done = NULL;
	fn(&c);
	assert_non_null(done);
	assert_true(had_key);
	done(&c, GRPC_UNAVAILABLE, "away", NULL);
	assert_int_equal(status_given, GRPC_UNAVAILABLE);
	assert_false(has_key(&c));
	lw_arena_deinit(&arena);
}

static void no_key_stays(void **state)
{
	Api__EnqueueMulticastGroupQueueItemRequest req = API__ENQUEUE_MULTICAST_GROUP_QUEUE_ITEM_REQUEST__INIT;
	Api__MulticastGroupQueueItem item = API__MULTICAST_GROUP_QUEUE_ITEM__INIT;
	(void)state;
	item.f_port = 1;
	req.queue_item = &item;
	refused(as_multicast_enqueue, &req);
	refused(as_multicast_list_queue, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_key_stays),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
