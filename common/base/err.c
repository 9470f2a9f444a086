/* Texts of error codes, and human detail. */
#include "common/base/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

const char *lw_err_text(int err)
{
	if (err >= 0)
		return "no error";
	switch (err) {
#define LW_ERR(name, code, text)                                                                                       \
	case name:                                                                                                     \
		return text;
#include "common/base/err.def"
#undef LW_ERR
	default:
		break;
	}
	if (err > -1000) {
		const char *s = strerrordesc_np(-err);
		if (s)
			return s;
	}
	return "unknown error";
}

const char *lw_err_name(int err)
{
	if (err >= 0)
		return "LW_OK";
	switch (err) {
#define LW_ERR(name, code, text)                                                                                       \
	case name:                                                                                                     \
		return #name;
#include "common/base/err.def"
#undef LW_ERR
	default:
		return err > -1000 ? "errno" : "unknown";
	}
}

void lw_diag_set(struct lw_diag *d, const char *fmt, ...)
{
	if (!d)
		return;
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(d->text, sizeof d->text, fmt, ap);
	va_end(ap);
}

void lw_diag_prefix(struct lw_diag *d, const char *fmt, ...)
{
	if (!d)
		return;
	char old[sizeof d->text];
	memcpy(old, d->text, sizeof old);
	old[sizeof old - 1] = '\0';
	va_list ap;
	va_start(ap, fmt);
	int n = vsnprintf(d->text, sizeof d->text, fmt, ap);
	va_end(ap);
	size_t at = n < 0 ? 0 : (size_t)n;
	for (const char *p = ": "; at + 1 < sizeof d->text && *p; p++)
		d->text[at++] = *p;
	for (const char *p = old; at + 1 < sizeof d->text && *p; p++)
		d->text[at++] = *p;
	d->text[at < sizeof d->text ? at : sizeof d->text - 1] = '\0';
}
