/* What the multicast flow needs of the store; the rules of ports.h hold. At any time one network-server sends to a
 * group: the one that has its lease. */
#pragma once

#include "common/base/arena.h"
#include "network-server/domain/multicast.h"

/* Parked copies at a gateway that are not due yet. */
struct ns_mc_parked {
	struct lw_gateway_id gateway_id;
	uint32_t f_cnt; /* the lowest of them */
	int64_t due_ns; /* the earliest of them */
};

/* Takes or renews the lease, and brings what is to be sent first. */
struct ns_mc_take {
	struct lw_uuid group_id;
	int64_t now_ns;
	int64_t lease_until_ns;
	struct lw_arena *arena;
	/* answer */
	int err; /* 0; LW_ENOTFOUND no such group; LW_ECONFLICT another one has the lease; LW_EUNAVAILABLE */
	int64_t leased_until_ns; /* LW_ECONFLICT: until then */
	struct ns_mc_group group;
	int64_t not_before_ns;          /* nothing is sent to the group before */
	struct lw_gateway_id *gateways; /* chosen by hand */
	size_t n_gateways;
	/* The item with the lowest counter that is not planned, or has a copy that is not parked, or one that is and is
	 * due. */
	bool has_item;
	struct ns_mc_item item;
	bool more;                 /* items come after it */
	struct ns_mc_copy *copies; /* all of this item */
	size_t n_copies;
	struct ns_mc_parked *parked; /* of the group, one for each gateway that has any */
	size_t n_parked;
	void (*done)(struct ns_mc_take *req);
	void *owner;
};

/* The group's devices. */
struct ns_mc_devices {
	struct lw_uuid group_id;
	struct lw_arena *arena;
	/* answer */
	int err;
	struct lw_dev_eui *v;
	size_t n;
	void (*done)(struct ns_mc_devices *req);
	void *owner;
};

/* All or nothing. An item without copies left that is planned, goes. */
struct ns_mc_change {
	struct lw_uuid group_id;
	struct lw_uuid item_id;
	bool needs_lease;       /* LW_ECONFLICT and nothing done when another one has it */
	int64_t lease_until_ns; /* with needs_lease: the new end; in the past: given back */
	int64_t not_before_ns;  /* with needs_lease; 0: as it was */
	bool delete_item;
	bool plan;          /* the item is planned from now on */
	bool fix_f_pending; /* the item's f_pending is this from now on */
	bool f_pending;
	const struct ns_mc_copy *put; /* added or changed; only while the item is there */
	size_t n_put;
	const struct lw_gateway_id *remove; /* copies */
	size_t n_remove;
	const struct lw_gateway_id *wake; /* what the group has parked at these is due at wake_ns */
	size_t n_wake;
	int64_t wake_ns;
	/* answer */
	int err; /* 0, LW_ECONFLICT, LW_EUNAVAILABLE */
	void (*done)(struct ns_mc_change *req);
	void *owner;
};

/* What the database knows of these gateways, that they are there, when they were heard and in which region, comes into
 * memory: another network-server may have their statistics. */
struct ns_mc_refresh {
	const struct lw_gateway_id *v; /* borrowed until done */
	size_t n;
	void (*done)(struct ns_mc_refresh *req); /* also when the database is away */
	void *owner;
};

struct ns_multicast_port {
	void *self; /* NULL: there is no multicast */
	void (*take)(void *self, struct ns_mc_take **v, size_t n);
	void (*devices)(void *self, struct ns_mc_devices *req);
	void (*commit)(void *self, struct ns_mc_change **v, size_t n);
	void (*refresh)(void *self, struct ns_mc_refresh *req);
};
