/* A name for this installation of the bridge: random, drawn once, kept in the state folder. */
#pragma once

#include "common/base/err.h"

#define GB_INSTANCE_TEXT 17

/* 16 hex digits. Drawn and written when the file is not there or not readable as one. Returns 0 or -errno with diag. */
int gb_instance_load(const char *state_dir, char out[GB_INSTANCE_TEXT], struct lw_diag *diag);
