/* Inside of conf: one setting from text, the release of what settings own, names of keys in the environment. */
#pragma once

#include "common/runtime/conf.h"

/* Elements of a list when the table sets no limit. */
#define CONF_MAX_ELEMENTS 1000u

/* Where an item lives in its struct. */
void *conf_at(const struct conf_item *item, void *base);
const void *conf_at_const(const struct conf_item *item, const void *base);
/* Scalars: replaces the value. LW_EINVAL / LW_ERANGE with a detail that says what is expected (never a secret's value).
 */
int conf_set_text(const struct conf_item *item, void *base, const char *text, struct lw_diag *diag);
/* STR_LIST: appends. */
int conf_strs_add(const struct conf_item *item, void *base, const char *text, struct lw_diag *diag);
void conf_strs_clear(const struct conf_item *item, void *base);
/* LIST: a new element, zeroed; NULL with diag when there are too many. */
void *conf_list_add(const struct conf_item *item, void *base, struct lw_diag *diag);
void conf_list_clear(const struct conf_item *item, void *base);
/* "mqtt.client-id" → "MQTT__CLIENT_ID". */
void conf_env_name(const char *key, char *out, size_t cap);
/* Splits "a, b" at commas; calls conf_strs_add for each piece that is not empty. */
int conf_strs_split(const struct conf_item *item, void *base, const char *text, struct lw_diag *diag);
