/* Downlink commands from MQTT on their way into the network-server's queue (contracts/integration.md §3). A valid
 * command is journalled before the broker hears that we have it, and done with once the network-server has it or
 * refuses it. What is wrong with a command is only logged: there is no topic for answers. Commands of one device keep
 * their order. */
#pragma once

#include "common/base/err.h"
#include "common/io/mqtt.h"

struct as;
struct as_commands;

/* Opens the journal (state_dir). */
int as_commands_new(struct as *as, struct as_commands **out, struct lw_diag *diag);
/* Reads what an earlier process left; once, when the integration is there and before the first take. */
int as_commands_replay(struct as_commands *c);
void as_commands_free(struct as_commands *c);
/* The database is ready: begin. May be called again. */
void as_commands_start(struct as_commands *c);
/* A message of the command topic. */
void as_commands_take(struct as_commands *c, const struct mqtt_message *m);
/* Makes what was taken durable, then begins with it. False: it cannot be written now, and the broker must not hear that
 * we have it; as_integration_acks_go() follows once it can. */
bool as_commands_commit(struct as_commands *c);
/* Commands that are not done with. */
size_t as_commands_waiting(const struct as_commands *c);
