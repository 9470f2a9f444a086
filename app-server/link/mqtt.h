/* The MQTT integration's link to the broker: events and the position message out, commands in.
 *
 * Each connection begins with reading the retained position: what the broker has of us is known before anything is
 * published. A message to ourselves marks the end of what is retained. Nothing is published again here; after a loss
 * the owner begins again from the position. */
#pragma once

#include "app-server/domain/event.h"
#include "app-server/domain/event_position.h"
#include "common/io/mqtt.h"
#include "common/runtime/daemon.h"

struct as;
struct as_integration;

struct as_integration_listener {
	/* The broker is there and has everything up to these positions. */
	void (*up)(void *arg, const struct as_positions *has);
	void (*down)(void *arg);
	/* What as_integration_look_up() found. */
	void (*looked_up)(void *arg, const struct as_positions *all);
	/* The broker has processed everything that was published before the position (err 0). */
	void (*position_done)(void *arg, uint64_t ticket, int err);
	/* Commands, see mqtt.h for when the broker hears that we have them. */
	void (*command)(void *arg, const struct mqtt_message *m);
	bool (*before_ack)(void *arg); /* false: as_integration_acks_go() comes later */
	void *arg;
};

/* Init table; as->integration stays NULL when no broker is configured. Must stand before the database and the
 * network-server in the table, so that it goes after them. */
int as_integration_init(void *owner, const struct rt_daemon_env *env, struct lw_diag *diag);
void as_integration_deinit(void *owner);
/* Once, before the loop runs. */
void as_integration_listen(struct as_integration *m, const struct as_integration_listener *l);

/* 0; LW_EUNAVAILABLE: no broker (down() was or will be called); another error: this event cannot be published. */
int as_integration_publish(struct as_integration *m, const struct as_event *e, const struct as_event_device *dev);
/* `ticket` comes back with position_done(), in order. */
int as_integration_publish_position(struct as_integration *m, const struct as_positions *p, uint64_t ticket);
/* Reads the positions of all replicas as the broker has them now. LW_EUNAVAILABLE: no broker; asked twice it answers
 * once. */
int as_integration_look_up(struct as_integration *m);
/* Takes no more commands: other replicas do. */
void as_integration_leave(struct as_integration *m);
/* Takes the commands that the broker keeps for a replica that is gone, and leaves nothing behind there. One at a time;
 * LW_EEXISTS: it is busy. `done` is not called where the replica is back, or the broker gone: to be asked again. */
int as_integration_inherit(struct as_integration *m, const char *client_id,
			   void (*done)(void *arg, const char *client_id), void *arg);
void as_integration_pause(struct as_integration *m, bool paused);
/* Commands that before_ack did not let be acknowledged are written now. */
void as_integration_acks_go(struct as_integration *m);
/* Reads a command's topic: parts are borrowed. */
bool as_integration_command_topic(const struct as_integration *m, const char *topic, struct lw_span *application_id,
				  struct lw_span *dev_eui, struct lw_span *command);
