/* Names of versions, message types and code rates. */
#include "common/lorawan/types.h"

#include <stddef.h>
#include <string.h>

#include "common/base/err.h"

static const char *const mac_versions[LW_MAC_VERSIONS] = {"1.0.0", "1.0.1", "1.0.2", "1.0.3", "1.0.4", "1.1.0"};

static const char *const reg_params[LW_REG_PARAMS] = {
	"A", "B", "RP002-1.0.0", "RP002-1.0.1", "RP002-1.0.2", "RP002-1.0.3", "RP002-1.0.4", "RP002-1.0.5",
};

static const char *const mtypes[8] = {
	"JoinRequest",     "JoinAccept",        "UnconfirmedDataUp", "UnconfirmedDataDown",
	"ConfirmedDataUp", "ConfirmedDataDown", "RejoinRequest",     "Proprietary",
};

static const char *const code_rates[] = {
	"", "4/5", "4/6", "4/7", "4/8", "3/8", "2/6", "1/4", "1/6", "5/6", "4/5LI", "4/6LI", "4/8LI",
};

/* Index of a text in a table, or LW_EINVAL. */
static int index_of(const char *const *table, size_t n, const char *text)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(table[i], text) == 0)
			return (int)i;
	return LW_EINVAL;
}

const char *lw_mac_version_text(enum lw_mac_version v)
{
	return (unsigned)v < LW_MAC_VERSIONS ? mac_versions[v] : "unknown";
}

int lw_mac_version_parse(const char *text, enum lw_mac_version *out)
{
	if (strcmp(text, "1.0") == 0)
		text = "1.0.0";
	else if (strcmp(text, "1.1") == 0)
		text = "1.1.0";
	int i = index_of(mac_versions, LW_MAC_VERSIONS, text);
	if (i < 0)
		return i;
	*out = (enum lw_mac_version)i;
	return 0;
}

const char *lw_reg_params_text(enum lw_reg_params v)
{
	return (unsigned)v < LW_REG_PARAMS ? reg_params[v] : "unknown";
}

int lw_reg_params_parse(const char *text, enum lw_reg_params *out)
{
	int i = index_of(reg_params, LW_REG_PARAMS, text);
	if (i < 0)
		return i;
	*out = (enum lw_reg_params)i;
	return 0;
}

const char *lw_mtype_text(enum lw_mtype t)
{
	return (unsigned)t < 8 ? mtypes[t] : "unknown";
}

const char *lw_code_rate_text(enum lw_code_rate cr)
{
	return (unsigned)cr < sizeof code_rates / sizeof code_rates[0] ? code_rates[cr] : "";
}

int lw_code_rate_parse(const char *text, enum lw_code_rate *out)
{
	if (strcmp(text, "1/3") == 0)
		text = "2/6";
	else if (strcmp(text, "2/3") == 0)
		text = "4/6";
	int i = index_of(code_rates, sizeof code_rates / sizeof code_rates[0], text);
	if (i <= 0)
		return LW_EINVAL;
	*out = (enum lw_code_rate)i;
	return 0;
}
