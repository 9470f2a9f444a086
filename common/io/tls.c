/* TLS contexts and sessions on OpenSSL with memory BIOs. */
#include "common/io/tls.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "common/base/xmalloc.h"

/* Plain text that may wait for the end of the handshake. */
#define WAITING_MAX ((size_t)1 << 20)

struct tls_context {
	SSL_CTX *ctx;
	bool server;
	bool insecure;
	uint8_t alpn[64]; /* length-prefixed */
	unsigned alpn_n;
};

struct tls_session {
	SSL *ssl;
	BIO *rbio;
	BIO *wbio;
	struct lw_buf waiting;
	bool ready;
	char alpn[32];
	char error[160];
	char peer_name[128];
};

static void ssl_reason(char *out, size_t n)
{
	unsigned long code = ERR_peek_last_error();
	const char *text = ERR_reason_error_string(code);
	snprintf(out, n, "%s", text ? text : "TLS failed");
	ERR_clear_error();
}

static int config_error(struct lw_diag *diag, const char *what, const char *file)
{
	char why[160];
	ssl_reason(why, sizeof(why));
	lw_diag_set(diag, "%s %s: %s", what, file, why);
	return LW_EINVAL;
}

static int on_alpn_select(SSL *ssl, const unsigned char **out, unsigned char *out_n, const unsigned char *in,
			  unsigned in_n, void *arg)
{
	(void)ssl;
	const struct tls_context *t = arg;
	unsigned char *chosen;
	if (SSL_select_next_proto(&chosen, out_n, t->alpn, t->alpn_n, in, in_n) != OPENSSL_NPN_NEGOTIATED)
		return SSL_TLSEXT_ERR_ALERT_FATAL;
	*out = chosen;
	return SSL_TLSEXT_ERR_OK;
}

static int load_files(struct tls_context *t, const struct tls_config *c, struct lw_diag *diag)
{
	if (c->cert_file && SSL_CTX_use_certificate_chain_file(t->ctx, c->cert_file) != 1)
		return config_error(diag, "certificate", c->cert_file);
	if (c->key_file && SSL_CTX_use_PrivateKey_file(t->ctx, c->key_file, SSL_FILETYPE_PEM) != 1)
		return config_error(diag, "key", c->key_file);
	if (c->cert_file && c->key_file && SSL_CTX_check_private_key(t->ctx) != 1)
		return config_error(diag, "key does not belong to the certificate", c->cert_file);
	if (c->ca_file) {
		if (SSL_CTX_load_verify_locations(t->ctx, c->ca_file, NULL) != 1)
			return config_error(diag, "authorities", c->ca_file);
		if (c->server)
			SSL_CTX_set_client_CA_list(t->ctx, SSL_load_client_CA_file(c->ca_file));
	} else if (!c->server) {
		SSL_CTX_set_default_verify_paths(t->ctx);
	}
	return 0;
}

static void set_verify(struct tls_context *t, const struct tls_config *c)
{
	int mode = SSL_VERIFY_NONE;
	if (c->server && c->ca_file)
		mode = SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT;
	else if (!c->server && !c->insecure)
		mode = SSL_VERIFY_PEER;
	SSL_CTX_set_verify(t->ctx, mode, NULL);
}

int tls_context_new(const struct tls_config *config, struct tls_context **out, struct lw_diag *diag)
{
	if (config->server && (!config->cert_file || !config->key_file)) {
		lw_diag_set(diag, "a TLS server needs a certificate and a key");
		return LW_EINVAL;
	}
	struct tls_context *t = lw_xcalloc(1, sizeof(*t));
	t->server = config->server;
	t->insecure = config->insecure;
	t->ctx = SSL_CTX_new(config->server ? TLS_server_method() : TLS_client_method());
	if (!t->ctx)
		abort(); /* out of memory */
	SSL_CTX_set_min_proto_version(t->ctx, TLS1_2_VERSION);
	SSL_CTX_set_options(t->ctx, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION | SSL_OP_IGNORE_UNEXPECTED_EOF);
	SSL_CTX_set_mode(t->ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
					 SSL_MODE_RELEASE_BUFFERS);
	SSL_CTX_set_session_id_context(t->ctx, (const unsigned char *)"longwave", 8);
	int rc = load_files(t, config, diag);
	if (rc) {
		tls_context_free(t);
		return rc;
	}
	set_verify(t, config);
	size_t n = config->alpn ? strlen(config->alpn) : 0;
	if (n && n < sizeof(t->alpn)) {
		t->alpn[0] = (uint8_t)n;
		memcpy(t->alpn + 1, config->alpn, n);
		t->alpn_n = (unsigned)n + 1;
		if (config->server)
			SSL_CTX_set_alpn_select_cb(t->ctx, on_alpn_select, t);
		else
			SSL_CTX_set_alpn_protos(t->ctx, t->alpn, t->alpn_n);
	}
	*out = t;
	return 0;
}

void tls_context_free(struct tls_context *t)
{
	if (!t)
		return;
	SSL_CTX_free(t->ctx);
	free(t);
}

static bool is_ip(const char *name)
{
	unsigned char addr[16];
	return inet_pton(AF_INET, name, addr) == 1 || inet_pton(AF_INET6, name, addr) == 1;
}

static void set_server_name(struct tls_session *s, const struct tls_context *t, const char *name)
{
	if (!is_ip(name)) {
		SSL_set_tlsext_host_name(s->ssl, name);
		if (!t->insecure)
			SSL_set1_host(s->ssl, name);
	} else if (!t->insecure) {
		X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(s->ssl), name);
	}
}

struct tls_session *tls_session_new(struct tls_context *t, const char *server_name)
{
	struct tls_session *s = lw_xcalloc(1, sizeof(*s));
	lw_buf_init(&s->waiting, WAITING_MAX);
	s->ssl = SSL_new(t->ctx);
	s->rbio = BIO_new(BIO_s_mem());
	s->wbio = BIO_new(BIO_s_mem());
	if (!s->ssl || !s->rbio || !s->wbio)
		abort(); /* out of memory */
	BIO_set_mem_eof_return(s->rbio, -1);
	SSL_set_bio(s->ssl, s->rbio, s->wbio);
	if (t->server) {
		SSL_set_accept_state(s->ssl);
	} else {
		SSL_set_connect_state(s->ssl);
		if (server_name && *server_name)
			set_server_name(s, t, server_name);
	}
	return s;
}

void tls_session_free(struct tls_session *s)
{
	if (!s)
		return;
	SSL_free(s->ssl);
	if (s->waiting.cap)
		lw_wipe(s->waiting.p, s->waiting.cap);
	lw_buf_deinit(&s->waiting);
	free(s);
}

static int take_wire(struct tls_session *s, struct lw_buf *wire)
{
	size_t n = BIO_ctrl_pending(s->wbio);
	while (n) {
		uint8_t *p = lw_buf_reserve(wire, n);
		if (!p)
			return LW_EBIG;
		int got = BIO_read(s->wbio, p, n > INT_MAX ? INT_MAX : (int)n);
		if (got <= 0)
			break;
		lw_buf_commit(wire, (size_t)got);
		n = BIO_ctrl_pending(s->wbio);
	}
	return 0;
}

static int fail(struct tls_session *s)
{
	long verify = SSL_get_verify_result(s->ssl);
	if (!s->ready && verify != X509_V_OK) {
		snprintf(s->error, sizeof(s->error), "certificate: %s", X509_verify_cert_error_string(verify));
		ERR_clear_error();
		return LW_EAUTH;
	}
	ssl_reason(s->error, sizeof(s->error));
	return LW_EPROTO;
}

static void note_peer(struct tls_session *s)
{
	const unsigned char *alpn;
	unsigned n;
	SSL_get0_alpn_selected(s->ssl, &alpn, &n);
	if (n && n < sizeof(s->alpn))
		memcpy(s->alpn, alpn, n);
	X509 *cert = SSL_get1_peer_certificate(s->ssl);
	if (cert && SSL_get_verify_result(s->ssl) == X509_V_OK)
		X509_NAME_get_text_by_NID(X509_get_subject_name(cert), NID_commonName, s->peer_name,
					  sizeof(s->peer_name));
	X509_free(cert);
}

static int encrypt(struct tls_session *s, struct lw_span plain)
{
	while (plain.n) {
		size_t done;
		if (SSL_write_ex(s->ssl, plain.p, plain.n, &done) != 1)
			return fail(s);
		plain = lw_span(plain.p + done, plain.n - done);
	}
	return 0;
}

static int handshake(struct tls_session *s)
{
	ERR_clear_error();
	int rc = SSL_do_handshake(s->ssl);
	if (rc == 1) {
		note_peer(s);
		s->ready = true;
		int err = encrypt(s, lw_buf_span(&s->waiting));
		lw_buf_reset(&s->waiting);
		return err;
	}
	int why = SSL_get_error(s->ssl, rc);
	if (why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE)
		return 0;
	return fail(s);
}

static int decrypt(struct tls_session *s, struct lw_buf *plain)
{
	for (;;) {
		uint8_t *p = lw_buf_reserve(plain, 16384);
		if (!p)
			return LW_EBIG;
		size_t n;
		ERR_clear_error();
		int rc = SSL_read_ex(s->ssl, p, 16384, &n);
		if (rc == 1) {
			lw_buf_commit(plain, n);
			continue;
		}
		int why = SSL_get_error(s->ssl, rc);
		if (why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE)
			return 0;
		return why == SSL_ERROR_ZERO_RETURN ? LW_ECLOSED : fail(s);
	}
}

int tls_session_feed(struct tls_session *s, struct lw_span in, struct lw_buf *plain, struct lw_buf *wire)
{
	if (in.n && BIO_write(s->rbio, in.p, (int)in.n) != (int)in.n)
		return LW_EBIG;
	int rc = s->ready ? 0 : handshake(s);
	if (rc == 0 && s->ready)
		rc = decrypt(s, plain);
	int wrc = take_wire(s, wire);
	return rc ? rc : wrc;
}

int tls_session_write(struct tls_session *s, struct lw_span plain, struct lw_buf *wire)
{
	if (!s->ready)
		return lw_buf_append_span(&s->waiting, plain);
	ERR_clear_error();
	int rc = encrypt(s, plain);
	int wrc = take_wire(s, wire);
	return rc ? rc : wrc;
}

bool tls_session_ready(const struct tls_session *s)
{
	return s->ready;
}

const char *tls_session_alpn(const struct tls_session *s)
{
	return s->alpn;
}

const char *tls_session_error(const struct tls_session *s)
{
	return s->error;
}

const char *tls_session_peer_name(const struct tls_session *s)
{
	return s->peer_name;
}
