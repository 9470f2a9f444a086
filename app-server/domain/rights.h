/* Who may do what: the permission table and its one evaluation. Pure; knows no SQL and no transport. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/ids.h"

/* The roles in which a caller can meet an object (contracts/api.md §4). */
enum as_actor {
	AS_ACTOR_GA = 1 << 0,   /* active global administrator */
	AS_ACTOR_TA = 1 << 1,   /* tenant administrator */
	AS_ACTOR_TDA = 1 << 2,  /* tenant's device administrator */
	AS_ACTOR_TGA = 1 << 3,  /* tenant's gateway administrator */
	AS_ACTOR_TU = 1 << 4,   /* any user of the tenant */
	AS_ACTOR_SELF = 1 << 5, /* the user the call is about */
	AS_ACTOR_AU = 1 << 6,   /* any active user */
	AS_ACTOR_AK = 1 << 7,   /* administrator API key */
	AS_ACTOR_AKW = 1 << 8,  /* the same, not read-only */
	AS_ACTOR_TK = 1 << 9,   /* API key of the tenant */
	AS_ACTOR_TKW = 1 << 10, /* the same, not read-only */
	AS_ACTOR_KEY = 1 << 11, /* any API key */
};

enum as_action {
	AS_CREATE,
	AS_READ,
	AS_UPDATE,
	AS_DELETE,
	AS_LIST,
	AS_UPDATE_PROFILE, /* a user's own password */
	AS_ACTIONS,
};

enum as_caller_kind { AS_CALLER_NONE, AS_CALLER_USER, AS_CALLER_KEY };

struct as_role {
	struct lw_uuid tenant_id;
	bool is_admin;
	bool is_device_admin;
	bool is_gateway_admin;
	int64_t created_at_us;
	int64_t updated_at_us;
};

/* What is known of a caller. Users carry their roles in tenants, keys the tenant that they belong to. */
struct as_caller {
	enum as_caller_kind kind;
	struct lw_uuid id;
	bool is_active; /* users; keys are always */
	bool is_admin;
	bool is_read_only;        /* keys */
	struct lw_uuid tenant_id; /* tenant keys */
	const struct as_role *roles;
	size_t nroles;
};

/* What the call is about. `tenant_id` NULL: no tenant (a list over all, a global profile); `user_id` NULL: no user. */
struct as_object {
	const struct lw_uuid *tenant_id;
	const struct lw_uuid *user_id;
};

struct as_right;

/* Row of a validator such as "DeviceAccess", or NULL. */
const struct as_right *as_right_find(const char *validator);
/* Splits "DeviceAccess:Read"; a name without an action ("ActiveUser") means Create, as in the table. 0 or LW_EINVAL. */
int as_right_parse(const char *text, const struct as_right **right, enum as_action *action);
const char *as_right_name(const struct as_right *right);

/* Mask of as_actor: all roles in which the caller meets the object. */
uint32_t as_caller_actors(const struct as_caller *caller, const struct as_object *object);
/* 0; LW_EPERM for a known caller without the right; LW_EAUTH for none or an inactive one. */
int as_right_check(const struct as_right *right, enum as_action action, const struct as_caller *caller,
		   const struct as_object *object);

/* All rows, for tests that walk the table. */
const struct as_right *as_rights(size_t *n);
uint32_t as_right_allowed(const struct as_right *right, enum as_action action);
