/* NetID types and their address ranges. An address of type t begins with t ones and a zero, then the NwkID. */
#include "common/lorawan/netid.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/err.h"

static const uint8_t nwkid_bits[8] = {6, 6, 9, 11, 12, 13, 15, 17};
static const uint8_t id_bits[8] = {6, 6, 9, 21, 21, 21, 21, 21};

static uint32_t upper_mask(unsigned len)
{
	return len == 0 ? 0 : UINT32_MAX << (32 - len);
}

unsigned lw_netid_type(struct lw_netid id)
{
	return (id.v >> 21) & 7;
}

uint32_t lw_netid_id(struct lw_netid id)
{
	return id.v & ((1U << id_bits[lw_netid_type(id)]) - 1);
}

struct lw_devaddr_prefix lw_netid_prefix(struct lw_netid id)
{
	unsigned type = lw_netid_type(id);
	unsigned bits = nwkid_bits[type];
	unsigned len = type + 1 + bits;
	uint32_t nwkid = lw_netid_id(id) & ((1U << bits) - 1);
	return (struct lw_devaddr_prefix){.addr = {upper_mask(type) | nwkid << (32 - len)}, .len = (uint8_t)len};
}

bool lw_devaddr_in_prefix(struct lw_devaddr a, struct lw_devaddr_prefix p)
{
	return ((a.v ^ p.addr.v) & upper_mask(p.len)) == 0;
}

bool lw_devaddr_in_netid(struct lw_devaddr a, struct lw_netid id)
{
	return lw_devaddr_in_prefix(a, lw_netid_prefix(id));
}

struct lw_devaddr lw_devaddr_make(struct lw_devaddr_prefix p, uint32_t random)
{
	uint32_t mask = upper_mask(p.len);
	return (struct lw_devaddr){(p.addr.v & mask) | (random & ~mask)};
}

int lw_devaddr_netid_type(struct lw_devaddr a)
{
	for (int type = 0; type < 8; type++)
		if (!(a.v & (0x80000000U >> type)))
			return type;
	return -1;
}

uint32_t lw_devaddr_nwkid(struct lw_devaddr a)
{
	int type = lw_devaddr_netid_type(a);
	if (type < 0)
		return 0;
	unsigned bits = nwkid_bits[type];
	return (a.v >> (32 - (unsigned)type - 1 - bits)) & ((1U << bits) - 1);
}

int lw_devaddr_prefix_parse(const char *text, struct lw_devaddr_prefix *out)
{
	const char *slash = strchr(text, '/');
	struct lw_devaddr_prefix p;
	if (!slash || lw_devaddr_parse_n(&p.addr, text, (size_t)(slash - text)) < 0)
		return LW_EINVAL;
	unsigned len = 0;
	const char *d = slash + 1;
	do {
		if (*d < '0' || *d > '9')
			return LW_EINVAL;
		len = len * 10 + (unsigned)(*d++ - '0');
	} while (*d && len <= 32);
	if (len > 32)
		return LW_EINVAL;
	p.len = (uint8_t)len;
	p.addr.v &= upper_mask(len);
	*out = p;
	return 0;
}

char *lw_devaddr_prefix_print(struct lw_devaddr_prefix p, char out[12])
{
	char addr[LW_DEVADDR_TEXT];
	(void)snprintf(out, 12, "%s/%u", lw_devaddr_print(p.addr, addr), (unsigned)(p.len <= 32 ? p.len : 32));
	return out;
}
