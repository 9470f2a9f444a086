#include "app-server/domain/rights.h"

#include <string.h>

#include "common/base/err.h"

struct as_right {
	const char *name;
	uint32_t allowed[AS_ACTIONS];
};

#define GA AS_ACTOR_GA
#define TA AS_ACTOR_TA
#define TDA AS_ACTOR_TDA
#define TGA AS_ACTOR_TGA
#define TU AS_ACTOR_TU
#define SELF AS_ACTOR_SELF
#define AU AS_ACTOR_AU
#define AK AS_ACTOR_AK
#define AKW AS_ACTOR_AKW
#define TK AS_ACTOR_TK
#define TKW AS_ACTOR_TKW
#define KEY AS_ACTOR_KEY

#define MEMBERS (GA | TU | AK | TK)
#define DEVICE_WRITERS (GA | TA | TDA | AKW | TKW)
#define GATEWAY_WRITERS (GA | TA | TGA | AKW | TKW)
#define TENANT_WRITERS (GA | TA | AKW | TKW)
#define QUEUE_WRITERS (GA | TU | AKW | TKW)

/* contracts/api.md §4 with the rules of the released versions (no grants per application or profile). "Any user" of a
 * list that the handler filters by the caller's tenants is AU. */
static const struct as_right rights[] = {
	{"ActiveUser", {[AS_CREATE] = AU}},
	{"ActiveUserOrKey", {[AS_CREATE] = AU | KEY}},
	{"IsAdmin", {[AS_CREATE] = GA}},
	{"UsersAccess", {[AS_CREATE] = GA | AK, [AS_LIST] = GA | AK}},
	{"UserAccess",
	 {[AS_READ] = GA | SELF | AK,
	  [AS_UPDATE] = GA | AKW,
	  [AS_DELETE] = GA | AKW,
	  [AS_UPDATE_PROFILE] = GA | SELF | AKW}},
	{"ApiKeysAccess", {[AS_CREATE] = GA | TA, [AS_LIST] = GA | TU}},
	{"ApiKeyAccess", {[AS_DELETE] = GA | TA}},
	{"TenantsAccess", {[AS_CREATE] = GA | AKW, [AS_LIST] = AU | AK}},
	{"TenantAccess", {[AS_READ] = MEMBERS, [AS_UPDATE] = GA | AKW, [AS_DELETE] = GA | AKW}},
	{"TenantUsersAccess", {[AS_CREATE] = TENANT_WRITERS, [AS_LIST] = MEMBERS}},
	{"TenantUserAccess",
	 {[AS_READ] = GA | TA | SELF | AK | TK, [AS_UPDATE] = TENANT_WRITERS, [AS_DELETE] = TENANT_WRITERS}},
	{"ApplicationsAccess", {[AS_CREATE] = DEVICE_WRITERS, [AS_LIST] = MEMBERS}},
	{"ApplicationAccess", {[AS_READ] = MEMBERS, [AS_UPDATE] = DEVICE_WRITERS, [AS_DELETE] = DEVICE_WRITERS}},
	{"DevicesAccess", {[AS_CREATE] = DEVICE_WRITERS, [AS_LIST] = MEMBERS}},
	{"DeviceAccess", {[AS_READ] = MEMBERS, [AS_UPDATE] = DEVICE_WRITERS, [AS_DELETE] = DEVICE_WRITERS}},
	{"DeviceQueueAccess", {[AS_CREATE] = QUEUE_WRITERS, [AS_DELETE] = QUEUE_WRITERS, [AS_LIST] = MEMBERS}},
	{"DeviceProfilesAccess", {[AS_CREATE] = DEVICE_WRITERS, [AS_LIST] = MEMBERS}},
	{"DeviceProfileAccess", {[AS_READ] = MEMBERS, [AS_UPDATE] = DEVICE_WRITERS, [AS_DELETE] = DEVICE_WRITERS}},
	/* Profiles without a tenant. */
	{"GlobalDeviceProfileAccess",
	 {[AS_READ] = AU | KEY, [AS_UPDATE] = GA | AKW, [AS_DELETE] = GA | AKW, [AS_LIST] = AU | KEY}},
	{"DeviceProfileVendorsAccess", {[AS_LIST] = AU | KEY}},
	{"DeviceProfileDevicesAccess", {[AS_LIST] = AU | KEY}},
	{"DeviceProfileVendorAccess", {[AS_READ] = AU | KEY, [AS_DELETE] = GA | AKW}},
	{"DeviceProfileDeviceAccess", {[AS_READ] = AU | KEY, [AS_DELETE] = GA | AKW}},
	{"GatewaysAccess", {[AS_CREATE] = GATEWAY_WRITERS, [AS_LIST] = MEMBERS}},
	{"GatewayAccess", {[AS_READ] = MEMBERS, [AS_UPDATE] = GATEWAY_WRITERS, [AS_DELETE] = GATEWAY_WRITERS}},
	{"MulticastGroupsAccess", {[AS_CREATE] = DEVICE_WRITERS, [AS_LIST] = MEMBERS}},
	{"MulticastGroupAccess", {[AS_READ] = MEMBERS, [AS_UPDATE] = DEVICE_WRITERS, [AS_DELETE] = DEVICE_WRITERS}},
	{"MulticastGroupQueueAccess",
	 {[AS_CREATE] = DEVICE_WRITERS, [AS_DELETE] = DEVICE_WRITERS, [AS_LIST] = MEMBERS}},
	{"FuotaDeploymentsAccess", {[AS_CREATE] = DEVICE_WRITERS, [AS_LIST] = MEMBERS}},
	{"FuotaDeploymentAccess", {[AS_READ] = MEMBERS, [AS_UPDATE] = DEVICE_WRITERS, [AS_DELETE] = DEVICE_WRITERS}},
};

static const char *const action_names[AS_ACTIONS] = {"Create", "Read", "Update", "Delete", "List", "UpdateProfile"};

const struct as_right *as_rights(size_t *n)
{
	*n = sizeof(rights) / sizeof(rights[0]);
	return rights;
}

uint32_t as_right_allowed(const struct as_right *right, enum as_action action)
{
	return right->allowed[action];
}

const char *as_right_name(const struct as_right *right)
{
	return right->name;
}

static const struct as_right *find_n(const char *name, size_t n)
{
	for (size_t i = 0; i < sizeof(rights) / sizeof(rights[0]); i++) {
		if (strlen(rights[i].name) == n && memcmp(rights[i].name, name, n) == 0)
			return &rights[i];
	}
	return NULL;
}

const struct as_right *as_right_find(const char *validator)
{
	return find_n(validator, strlen(validator));
}

int as_right_parse(const char *text, const struct as_right **right, enum as_action *action)
{
	const char *colon = strchr(text, ':');
	*right = find_n(text, colon ? (size_t)(colon - text) : strlen(text));
	*action = AS_CREATE;
	if (!*right)
		return LW_EINVAL;
	if (!colon)
		return 0;
	for (int a = 0; a < AS_ACTIONS; a++) {
		if (strcmp(action_names[a], colon + 1) == 0) {
			*action = (enum as_action)a;
			return 0;
		}
	}
	return LW_EINVAL;
}

static uint32_t key_actors(const struct as_caller *c, const struct as_object *o)
{
	uint32_t m = KEY;
	if (c->is_admin)
		m |= AK | (c->is_read_only ? 0u : (uint32_t)AKW);
	else if (o->tenant_id && lw_uuid_eq(*o->tenant_id, c->tenant_id))
		m |= TK | (c->is_read_only ? 0u : (uint32_t)TKW);
	return m;
}

static uint32_t user_actors(const struct as_caller *c, const struct as_object *o)
{
	if (!c->is_active)
		return 0;
	uint32_t m = AU;
	if (c->is_admin)
		m |= GA;
	if (o->user_id && lw_uuid_eq(*o->user_id, c->id))
		m |= SELF;
	for (size_t i = 0; o->tenant_id && i < c->nroles; i++) {
		const struct as_role *r = &c->roles[i];
		if (!lw_uuid_eq(r->tenant_id, *o->tenant_id))
			continue;
		m |= TU;
		m |= r->is_admin ? (uint32_t)TA : 0u;
		m |= r->is_device_admin ? (uint32_t)TDA : 0u;
		m |= r->is_gateway_admin ? (uint32_t)TGA : 0u;
	}
	return m;
}

uint32_t as_caller_actors(const struct as_caller *caller, const struct as_object *object)
{
	switch (caller->kind) {
	case AS_CALLER_USER:
		return user_actors(caller, object);
	case AS_CALLER_KEY:
		return key_actors(caller, object);
	case AS_CALLER_NONE:
		break;
	}
	return 0;
}

int as_right_check(const struct as_right *right, enum as_action action, const struct as_caller *caller,
		   const struct as_object *object)
{
	uint32_t actors = as_caller_actors(caller, object);
	if (actors == 0)
		return LW_EAUTH;
	return (actors & right->allowed[action]) ? 0 : LW_EPERM;
}
