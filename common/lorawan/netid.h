/* NetID types and the DevAddr ranges that belong to them (Backend Interfaces 1.0 §13, TS001-1.1 §6.1.2.1). */
#pragma once

#include "common/base/ids.h"

/* A block of addresses: those whose upper `len` bits equal those of addr. */
struct lw_devaddr_prefix {
	struct lw_devaddr addr;
	uint8_t len; /* 0..32 */
};

/* 0..7. */
unsigned lw_netid_type(struct lw_netid id);
/* The identifier bits of the NetID (6, 9, 11, 12, 13, 15, 17 bits become the NwkID). */
uint32_t lw_netid_id(struct lw_netid id);
/* The block of addresses of a network. */
struct lw_devaddr_prefix lw_netid_prefix(struct lw_netid id);
bool lw_devaddr_in_prefix(struct lw_devaddr a, struct lw_devaddr_prefix p);
/* True when the address is one of the network's. */
bool lw_devaddr_in_netid(struct lw_devaddr a, struct lw_netid id);
/* An address of the block; the bits below the prefix come from `random`. */
struct lw_devaddr lw_devaddr_make(struct lw_devaddr_prefix p, uint32_t random);
/* NetID type of an address: leading ones, 0..7; -1 for 0xFF…, which belongs to no type. */
int lw_devaddr_netid_type(struct lw_devaddr a);
/* NwkID bits of an address; 0 when it has no type. */
uint32_t lw_devaddr_nwkid(struct lw_devaddr a);
/* "01000000/7" and back: 0 or LW_EINVAL. */
int lw_devaddr_prefix_parse(const char *text, struct lw_devaddr_prefix *out);
char *lw_devaddr_prefix_print(struct lw_devaddr_prefix p, char out[12]);
