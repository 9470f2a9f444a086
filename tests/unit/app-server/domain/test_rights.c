/* The permission table, every validator and action against every actor. Source: contracts/api.md §4, released rules. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "app-server/domain/rights.h"
#include "common/base/err.h"

static const struct lw_uuid mine = {.b = {1}};
static const struct lw_uuid other = {.b = {2}};
static const struct lw_uuid me = {.b = {9}};

static const struct as_role admin_role[] = {{.tenant_id = {.b = {1}}, .is_admin = true}};
static const struct as_role device_role[] = {{.tenant_id = {.b = {1}}, .is_device_admin = true}};
static const struct as_role gateway_role[] = {{.tenant_id = {.b = {1}}, .is_gateway_admin = true}};
static const struct as_role plain_role[] = {{.tenant_id = {.b = {1}}}};

/* The same letters as the columns below. */
static const struct {
	char letter;
	struct as_caller caller;
} callers[] = {
	{'G', {.kind = AS_CALLER_USER, .id = {.b = {9}}, .is_active = true, .is_admin = true}},
	{'A', {.kind = AS_CALLER_USER, .id = {.b = {9}}, .is_active = true, .roles = admin_role, .nroles = 1}},
	{'D', {.kind = AS_CALLER_USER, .id = {.b = {9}}, .is_active = true, .roles = device_role, .nroles = 1}},
	{'W', {.kind = AS_CALLER_USER, .id = {.b = {9}}, .is_active = true, .roles = gateway_role, .nroles = 1}},
	{'U', {.kind = AS_CALLER_USER, .id = {.b = {9}}, .is_active = true, .roles = plain_role, .nroles = 1}},
	{'O', {.kind = AS_CALLER_USER, .id = {.b = {8}}, .is_active = true}}, /* of no tenant */
	{'K', {.kind = AS_CALLER_KEY, .is_active = true, .is_admin = true}},
	{'k', {.kind = AS_CALLER_KEY, .is_active = true, .is_admin = true, .is_read_only = true}},
	{'T', {.kind = AS_CALLER_KEY, .is_active = true, .tenant_id = {.b = {1}}}},
	{'t', {.kind = AS_CALLER_KEY, .is_active = true, .tenant_id = {.b = {1}}, .is_read_only = true}},
	{'X', {.kind = AS_CALLER_KEY, .is_active = true, .tenant_id = {.b = {2}}}}, /* of another tenant */
};
#define CALLERS (sizeof(callers) / sizeof(callers[0]))

/* Who may, on an object of tenant 1. Users are all the same user `me` but for O; the user of the call is not the
 * caller. */
static const struct {
	const char *right;
	const char *who;
} expected[] = {
	{"ActiveUser", "GADWUO"},
	{"ActiveUserOrKey", "GADWUOKkTtX"},
	{"IsAdmin", "G"},
	{"UsersAccess:Create", "GKk"},
	{"UsersAccess:List", "GKk"},
	{"UserAccess:Read", "GKk"},
	{"UserAccess:Update", "GK"},
	{"UserAccess:Delete", "GK"},
	{"UserAccess:UpdateProfile", "GK"},
	{"ApiKeysAccess:Create", "GA"},
	{"ApiKeysAccess:List", "GADWU"},
	{"ApiKeyAccess:Delete", "GA"},
	{"TenantsAccess:Create", "GK"},
	{"TenantsAccess:List", "GADWUOKk"},
	{"TenantAccess:Read", "GADWUKkTt"},
	{"TenantAccess:Update", "GK"},
	{"TenantAccess:Delete", "GK"},
	{"TenantUsersAccess:Create", "GAKT"},
	{"TenantUsersAccess:List", "GADWUKkTt"},
	{"TenantUserAccess:Read", "GAKkTt"},
	{"TenantUserAccess:Update", "GAKT"},
	{"TenantUserAccess:Delete", "GAKT"},
	{"ApplicationsAccess:Create", "GADKT"},
	{"ApplicationsAccess:List", "GADWUKkTt"},
	{"ApplicationAccess:Read", "GADWUKkTt"},
	{"ApplicationAccess:Update", "GADKT"},
	{"ApplicationAccess:Delete", "GADKT"},
	{"DevicesAccess:Create", "GADKT"},
	{"DevicesAccess:List", "GADWUKkTt"},
	{"DeviceAccess:Read", "GADWUKkTt"},
	{"DeviceAccess:Update", "GADKT"},
	{"DeviceAccess:Delete", "GADKT"},
	{"DeviceQueueAccess:Create", "GADWUKT"},
	{"DeviceQueueAccess:Delete", "GADWUKT"},
	{"DeviceQueueAccess:List", "GADWUKkTt"},
	{"DeviceProfilesAccess:Create", "GADKT"},
	{"DeviceProfilesAccess:List", "GADWUKkTt"},
	{"DeviceProfileAccess:Read", "GADWUKkTt"},
	{"DeviceProfileAccess:Update", "GADKT"},
	{"DeviceProfileAccess:Delete", "GADKT"},
	{"GlobalDeviceProfileAccess:Read", "GADWUOKkTtX"},
	{"GlobalDeviceProfileAccess:Update", "GK"},
	{"GlobalDeviceProfileAccess:Delete", "GK"},
	{"GlobalDeviceProfileAccess:List", "GADWUOKkTtX"},
	{"DeviceProfileVendorsAccess:List", "GADWUOKkTtX"},
	{"DeviceProfileDevicesAccess:List", "GADWUOKkTtX"},
	{"DeviceProfileVendorAccess:Read", "GADWUOKkTtX"},
	{"DeviceProfileVendorAccess:Delete", "GK"},
	{"DeviceProfileDeviceAccess:Read", "GADWUOKkTtX"},
	{"DeviceProfileDeviceAccess:Delete", "GK"},
	{"GatewaysAccess:Create", "GAWKT"},
	{"GatewaysAccess:List", "GADWUKkTt"},
	{"GatewayAccess:Read", "GADWUKkTt"},
	{"GatewayAccess:Update", "GAWKT"},
	{"GatewayAccess:Delete", "GAWKT"},
	{"MulticastGroupsAccess:Create", "GADKT"},
	{"MulticastGroupsAccess:List", "GADWUKkTt"},
	{"MulticastGroupAccess:Read", "GADWUKkTt"},
	{"MulticastGroupAccess:Update", "GADKT"},
	{"MulticastGroupAccess:Delete", "GADKT"},
	{"MulticastGroupQueueAccess:Create", "GADKT"},
	{"MulticastGroupQueueAccess:Delete", "GADKT"},
	{"MulticastGroupQueueAccess:List", "GADWUKkTt"},
	{"FuotaDeploymentsAccess:Create", "GADKT"},
	{"FuotaDeploymentsAccess:List", "GADWUKkTt"},
	{"FuotaDeploymentAccess:Read", "GADWUKkTt"},
	{"FuotaDeploymentAccess:Update", "GADKT"},
	{"FuotaDeploymentAccess:Delete", "GADKT"},
};
#define EXPECTED (sizeof(expected) / sizeof(expected[0]))

static void test_every_cell(void **state)
{
	(void)state;
	for (size_t i = 0; i < EXPECTED; i++) {
		const struct as_right *right;
		enum as_action action;
		char who[CALLERS + 1];
		size_t n = 0;
		assert_int_equal(as_right_parse(expected[i].right, &right, &action), 0);
		for (size_t c = 0; c < CALLERS; c++) {
			struct as_object o = {.tenant_id = &mine};
			if (as_right_check(right, action, &callers[c].caller, &o) == 0)
				who[n++] = callers[c].letter;
		}
		who[n] = 0;
		if (strcmp(who, expected[i].who) != 0)
			fail_msg("%s: \"%s\", not \"%s\"", expected[i].right, who, expected[i].who);
	}
}

/* No cell of the table that the list above does not mention allows anybody. The rows of one validator stand together.
 */
static void test_nothing_else_is_allowed(void **state)
{
	const struct as_right *seen = NULL;
	size_t rows = 0;
	size_t cells = 0;
	size_t n;
	(void)state;
	for (size_t i = 0; i < EXPECTED; i++) {
		const struct as_right *right;
		enum as_action action;
		as_right_parse(expected[i].right, &right, &action);
		if (right == seen)
			continue;
		seen = right;
		rows++;
		for (int a = 0; a < AS_ACTIONS; a++)
			cells += as_right_allowed(right, (enum as_action)a) != 0;
	}
	as_rights(&n);
	assert_int_equal(rows, n);
	assert_int_equal(cells, EXPECTED);
}

static void test_other_tenant(void **state)
{
	const struct as_right *right = as_right_find("DeviceAccess");
	struct as_object o = {.tenant_id = &other};
	(void)state;
	for (size_t c = 0; c < CALLERS; c++) {
		int rc = as_right_check(right, AS_READ, &callers[c].caller, &o);
		int want = strchr("GKkX", callers[c].letter) ? 0 : LW_EPERM;
		assert_int_equal(rc, want);
	}
}

static void test_self(void **state)
{
	const struct as_right *right = as_right_find("UserAccess");
	struct as_object o = {.user_id = &me};
	(void)state;
	assert_int_equal(as_right_check(right, AS_READ, &callers[4].caller, &o), 0);
	assert_int_equal(as_right_check(right, AS_UPDATE_PROFILE, &callers[4].caller, &o), 0);
	assert_int_equal(as_right_check(right, AS_UPDATE, &callers[4].caller, &o), LW_EPERM);
	/* Somebody else, and a key with the same id. */
	assert_int_equal(as_right_check(right, AS_READ, &callers[5].caller, &o), LW_EPERM);
	struct as_caller key = {.kind = AS_CALLER_KEY, .id = me, .is_active = true, .tenant_id = mine};
	assert_int_equal(as_right_check(right, AS_READ, &key, &o), LW_EPERM);
}

static void test_inactive_and_nobody(void **state)
{
	struct as_caller c = callers[0].caller;
	struct as_object o = {.tenant_id = &mine};
	(void)state;
	c.is_active = false;
	assert_int_equal(as_right_check(as_right_find("DeviceAccess"), AS_READ, &c, &o), LW_EAUTH);
	c.kind = AS_CALLER_NONE;
	assert_int_equal(as_right_check(as_right_find("ActiveUserOrKey"), AS_CREATE, &c, &o), LW_EAUTH);
}

static void test_parse(void **state)
{
	const struct as_right *right;
	enum as_action action;
	(void)state;
	assert_int_equal(as_right_parse("UserAccess:UpdateProfile", &right, &action), 0);
	assert_int_equal(action, AS_UPDATE_PROFILE);
	assert_string_equal(as_right_name(right), "UserAccess");
	assert_int_equal(as_right_parse("UserAccess:Fly", &right, &action), LW_EINVAL);
	assert_int_equal(as_right_parse("Nobody:Read", &right, &action), LW_EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_cell),          cmocka_unit_test(test_nothing_else_is_allowed),
		cmocka_unit_test(test_other_tenant),        cmocka_unit_test(test_self),
		cmocka_unit_test(test_inactive_and_nobody), cmocka_unit_test(test_parse),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
