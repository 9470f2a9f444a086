/* The end of a process that found a mistake of its own. */
#include "common/base/bug.h"

#include <stdio.h>
#include <stdlib.h>

_Noreturn void lw_bug(const char *file, int line, const char *what)
{
	fprintf(stderr, "BUG at %s:%d: %s\n", file, line, what);
	abort();
}
