/* Takes what the broker keeps for a client that is gone: comes under its name, until nothing has come for a while, and
 * then has the broker forget that session. It gives way: once it was cut off, perhaps the other is back. */
#pragma once

#include "common/io/mqtt.h"

struct mqtt_heir;

struct mqtt_heir_opts {
	/* As those of the owner's own connection, with the client id of the one who is gone; on_connect and
	 * on_disconnect are not used, `arg` goes to all. */
	struct mqtt_opts mqtt;
	/* First of all: ends what is subscribed, for what comes now is for those who stay. */
	void (*on_connect)(void *arg, struct mqtt *m);
	/* Nothing that was taken still waits for its acknowledgement. */
	bool (*is_idle)(void *arg);
	/* The last call, never from inside mqtt_heir_new(); the heir is no more. Not `taken`: it was cut off, and is to
	 * be asked for again where the other is still gone. */
	void (*done)(void *arg, bool taken);
};

/* Copies what it is given. NULL with diag when options are wrong. */
struct mqtt_heir *mqtt_heir_new(struct rt_loop *loop, struct rt_log *log, const struct mqtt_heir_opts *o,
				struct lw_diag *diag);
/* Ends it before it is done; what it has not acknowledged stays with the broker. */
void mqtt_heir_free(struct mqtt_heir *h);
/* Its connection, to pause it and to let its acknowledgements go. */
struct mqtt *mqtt_heir_client(struct mqtt_heir *h);
