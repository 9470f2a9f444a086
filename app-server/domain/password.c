#include "app-server/domain/password.h"

#include <string.h>

#include <argon2.h>

#include "common/base/err.h"
#include "common/crypto/hash.h"

/* RFC 9106, second recommended option, with less memory: a small box runs this next to everything else. */
#define ITERATIONS 3
#define MEMORY_KIB (19 * 1024)
#define LANES 1
#define SALT_LEN 16
#define HASH_LEN 32

int as_password_check_length(const char *password)
{
	size_t n = strlen(password);
	return n >= AS_PASSWORD_MIN && n <= AS_PASSWORD_MAX ? 0 : LW_EINVAL;
}

int as_password_hash(const char *password, char out[AS_PASSWORD_HASH_MAX])
{
	unsigned char salt[SALT_LEN];
	lw_random_bytes(salt, sizeof(salt));
	int rc = argon2id_hash_encoded(ITERATIONS, MEMORY_KIB, LANES, password, strlen(password), salt, sizeof(salt),
				       HASH_LEN, out, AS_PASSWORD_HASH_MAX);
	return rc == ARGON2_OK ? 0 : LW_EINTERNAL;
}

int as_password_verify(const char *encoded, const char *password)
{
	switch (argon2id_verify(encoded, password, strlen(password))) {
	case ARGON2_OK:
		return 0;
	case ARGON2_VERIFY_MISMATCH:
		return LW_EAUTH;
	default:
		return LW_EINVAL;
	}
}
