#include "gateway-bridge/domain/filter.h"

#include <stdlib.h>

#include "common/base/xmalloc.h"
#include "common/lorawan/netid.h"
#include "common/lorawan/phy.h"

static int parse_range(const char *text, struct gb_eui_range *out)
{
	struct lw_join_eui from, to;
	const char *dash = strchr(text, '-');
	size_t n = dash ? (size_t)(dash - text) : strlen(text);
	if (lw_join_eui_parse_n(&from, text, n) < 0 || lw_join_eui_parse(&to, dash ? dash + 1 : text) < 0)
		return LW_EINVAL;
	*out = (struct gb_eui_range){lw_join_eui_u64(from), lw_join_eui_u64(to)};
	return out->from <= out->to ? 0 : LW_EINVAL;
}

int gb_filter_init(struct gb_filter *f, char *const *net_ids, size_t n_net_ids, char *const *join_euis,
		   size_t n_join_euis, struct lw_diag *diag)
{
	*f = (struct gb_filter){0};
	f->net_ids = lw_xcalloc(n_net_ids + 1, sizeof(f->net_ids[0]));
	f->join_euis = lw_xcalloc(n_join_euis + 1, sizeof(f->join_euis[0]));
	for (size_t i = 0; i < n_net_ids; i++) {
		if (lw_netid_parse(&f->net_ids[f->n_net_ids++], net_ids[i]) < 0) {
			lw_diag_set(diag, "filters.net_ids: \"%s\" is not a NetID of six hex digits", net_ids[i]);
			goto wrong;
		}
	}
	for (size_t i = 0; i < n_join_euis; i++) {
		if (parse_range(join_euis[i], &f->join_euis[f->n_join_euis++]) < 0) {
			lw_diag_set(diag, "filters.join_euis: \"%s\" is not FROM-TO with 16 hex digits each",
				    join_euis[i]);
			goto wrong;
		}
	}
	return 0;
wrong:
	gb_filter_deinit(f);
	return LW_EINVAL;
}

void gb_filter_deinit(struct gb_filter *f)
{
	free(f->net_ids);
	free(f->join_euis);
	*f = (struct gb_filter){0};
}

static bool join_eui_passes(const struct gb_filter *f, struct lw_join_eui eui)
{
	uint64_t v = lw_join_eui_u64(eui);
	for (size_t i = 0; i < f->n_join_euis; i++) {
		if (v >= f->join_euis[i].from && v <= f->join_euis[i].to)
			return true;
	}
	return f->n_join_euis == 0;
}

static bool devaddr_passes(const struct gb_filter *f, struct lw_devaddr addr)
{
	for (size_t i = 0; i < f->n_net_ids; i++) {
		if (lw_devaddr_in_netid(addr, f->net_ids[i]))
			return true;
	}
	return f->n_net_ids == 0;
}

static bool netid_passes(const struct gb_filter *f, struct lw_netid id)
{
	for (size_t i = 0; i < f->n_net_ids; i++) {
		if (lw_netid_eq(id, f->net_ids[i]))
			return true;
	}
	return f->n_net_ids == 0;
}

bool gb_filter_pass(const struct gb_filter *f, struct lw_span phy)
{
	struct lw_phy frame;
	if ((f->n_net_ids == 0 && f->n_join_euis == 0) || lw_phy_parse(phy, &frame) < 0)
		return true;
	if (lw_mtype_is_data_up(frame.mtype))
		return devaddr_passes(f, frame.u.data.devaddr);
	if (frame.mtype == LW_MTYPE_JOIN_REQUEST)
		return join_eui_passes(f, frame.u.join_request.join_eui);
	if (frame.mtype == LW_MTYPE_REJOIN_REQUEST)
		return frame.u.rejoin.type == 1 ? join_eui_passes(f, frame.u.rejoin.join_eui)
						: netid_passes(f, frame.u.rejoin.netid);
	return true;
}
