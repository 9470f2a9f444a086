/* Passwords as argon2id hashes. Slow on purpose (tens of milliseconds): call on a worker thread, never on the loop. */
#pragma once

#include <stddef.h>

#define AS_PASSWORD_MIN 8
#define AS_PASSWORD_MAX 128
#define AS_PASSWORD_HASH_MAX 160

/* 0 or LW_EINVAL when the length is not allowed. */
int as_password_check_length(const char *password);
/* Encoded form with its parameters and a fresh salt. 0 or LW_EINTERNAL. */
int as_password_hash(const char *password, char out[AS_PASSWORD_HASH_MAX]);
/* 0, LW_EAUTH when it does not match, LW_EINVAL when the hash is not of ours. */
int as_password_verify(const char *encoded, const char *password);
