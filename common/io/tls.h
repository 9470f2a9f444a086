/* TLS for the adapters: contexts with certificate, key and authorities; sessions between memory buffers, so that the
 * loop does the I/O. TLS 1.2 and newer. The only user of OpenSSL's SSL. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "common/base/bytes.h"
#include "common/base/err.h"

struct tls_context;
struct tls_session;

struct tls_config {
	bool server;
	const char *cert_file; /* PEM chain; needed by a server */
	const char *key_file;
	const char *ca_file; /* authorities of the peer; client: NULL means the system's; server: NULL means no client
				certificate */
	bool insecure;       /* client: do not check the peer; for tests */
	const char *alpn;    /* one protocol, "h2"; NULL: none */
};

int tls_context_new(const struct tls_config *config, struct tls_context **out, struct lw_diag *diag);
void tls_context_free(struct tls_context *t);

/* `server_name`: client: name to ask for and to check; NULL for a server. The context outlives the session. */
struct tls_session *tls_session_new(struct tls_context *t, const char *server_name);
void tls_session_free(struct tls_session *s);
/* Bytes from the network. Plain text is appended to `plain`, what must go to the network to `wire`. 0, LW_ECLOSED (the
 * peer ended the session), LW_EAUTH (certificate), LW_EPROTO. Begin a client's session with an empty span. */
int tls_session_feed(struct tls_session *s, struct lw_span in, struct lw_buf *plain, struct lw_buf *wire);
/* Encrypts; before the handshake is done the text waits inside. 0 or LW_EPROTO. */
int tls_session_write(struct tls_session *s, struct lw_span plain, struct lw_buf *wire);
bool tls_session_ready(const struct tls_session *s);
/* Protocol chosen by ALPN; "" when none. */
const char *tls_session_alpn(const struct tls_session *s);
/* Reason of the last error; "" when none. */
const char *tls_session_error(const struct tls_session *s);
/* Subject common name of the peer's verified certificate; "" when none. */
const char *tls_session_peer_name(const struct tls_session *s);
