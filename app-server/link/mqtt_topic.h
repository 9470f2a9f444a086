/* Topics of the MQTT integration, made from and read by templates such as
 * application/{{application_id}}/device/{{dev_eui}}/event/{{event}}. Spaces inside the braces are allowed. Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "common/base/bytes.h"
#include "common/base/err.h"

#define AS_TOPIC_PARTS 24
#define AS_TOPIC_MAX 512

enum as_topic_var { AS_TOPIC_TEXT, AS_TOPIC_APPLICATION, AS_TOPIC_DEV_EUI, AS_TOPIC_NAME };

/* A template cut into pieces; they point into the text given. */
struct as_topic {
	size_t n;
	struct {
		enum as_topic_var var;
		struct lw_span text;
	} v[AS_TOPIC_PARTS];
};

/* `name` is the template's third variable: "event" or "command". The text is borrowed. LW_EINVAL: unknown variable,
 * unbalanced braces, wildcards, two variables without a text between them, or one of the three missing. */
int as_topic_parse(struct as_topic *t, const char *text, const char *name, struct lw_diag *diag);
/* LW_EBIG when it does not fit. Returns out's length. */
int as_topic_print(const struct as_topic *t, const char *application_id, const char *dev_eui, const char *name,
		   char *out, size_t cap);
/* The filter that matches all: `prefix` (such as "$share/longwave/"), then every variable as "+". A level that mixes
 * text and variable becomes "+" as a whole. LW_EBIG. */
int as_topic_filter(const struct as_topic *t, const char *prefix, char *out, size_t cap);
/* Reads a topic back; the parts are borrowed from it. A variable takes everything up to the template's next text, never
 * a slash. */
bool as_topic_match(const struct as_topic *t, const char *topic, struct lw_span *application_id,
		    struct lw_span *dev_eui, struct lw_span *name);
