/* BUG_ON: aborts on a mistake of our own, in every build. Never used on input. */
#pragma once

_Noreturn void lw_bug(const char *file, int line, const char *what);

#define BUG_ON(cond)                                                                                                   \
	do {                                                                                                           \
		if (__builtin_expect(!!(cond), 0))                                                                     \
			lw_bug(__FILE__, __LINE__, #cond);                                                             \
	} while (0)
