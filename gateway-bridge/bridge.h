/* The daemon's table: parts in the order of their start, configuration, drain. */
#pragma once

#include "common/runtime/daemon.h"

extern const struct rt_daemon gb_daemon;
