#include "quic.h"

#include <arpa/inet.h>
#include <gnutls/abstract.h>
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <ngtcp2/ngtcp2.h>
#include <ngtcp2/ngtcp2_crypto.h>
#include <ngtcp2/ngtcp2_crypto_gnutls.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>

enum { CID_LEN = 8, MAX_PACKET = 1452, TURN_PACKETS = 200, CRYPTO_ERROR = 0x100, MAX_LINKS = 8 };

// ngtcp2 takes pointers to stream data and keeps them until it is acknowledged, so chunks live as long as the stream.
typedef struct chunk { struct chunk *next; size_t len, written; bool fin, done; uint8_t data[]; } chunk;
typedef struct stream {
	struct stream *next;
	int64_t id;
	chunk *first, *last;
	bool reset, stop, blocked;
	uint64_t reset_code, stop_code;
} stream;
typedef struct packet { struct packet *next; size_t len; uint8_t data[]; } packet;

struct conn {
	peer_link link; // first: a link of this adapter is its conn
	endpoint *e;
	ngtcp2_conn *q;
	gnutls_session_t tls;
	ngtcp2_crypto_conn_ref ref;
	struct sockaddr_in remote;
	stream *streams;
	packet *first, *last; // datagrams to send
	bool want_close;
	uint64_t want_code;
	const char *want_reason;
};

struct endpoint {
	int fd;
	struct sockaddr_in local;
	options o;
	gnutls_certificate_credentials_t cred;
	conn *conns[MAX_LINKS];
	size_t n;
};

uint64_t stack_now(void) {
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * SECOND + (uint64_t)t.tv_nsec;
}

void stack_random(void *out, size_t len) {
	if (gnutls_rnd(GNUTLS_RND_RANDOM, out, len) != 0) abort();
}

// ---- the calls of the session layer

static stream *stream_of(conn *c, int64_t id) {
	stream *s = c->streams;
	while (s && s->id != id) s = s->next;
	if (s) return s;
	s = calloc(1, sizeof *s);
	if (!s) abort();
	s->id = id;
	s->next = c->streams;
	return c->streams = s;
}

int64_t stack_open(conn *c, bool bidi) {
	int64_t id;
	int rv = bidi ? ngtcp2_conn_open_bidi_stream(c->q, &id, NULL) : ngtcp2_conn_open_uni_stream(c->q, &id, NULL);
	return rv == 0 ? id : -1;
}

void stack_write(conn *c, int64_t id, const void *data, size_t len, bool fin) {
	stream *s = stream_of(c, id);
	chunk *k = malloc(sizeof *k + len);
	if (!k) abort();
	*k = (chunk){.len = len, .fin = fin};
	if (len) memcpy(k->data, data, len);
	if (s->last) s->last->next = k; else s->first = k;
	s->last = k;
}

void stack_reset(conn *c, int64_t id, uint64_t code) {
	stream *s = stream_of(c, id);
	s->reset = true;
	s->reset_code = code;
}

void stack_stop(conn *c, int64_t id, uint64_t code) {
	stream *s = stream_of(c, id);
	s->stop = true;
	s->stop_code = code;
}

void stack_datagram(conn *c, const void *data, size_t len) {
	packet *p = malloc(sizeof *p + len);
	if (!p) abort();
	*p = (packet){.len = len};
	memcpy(p->data, data, len);
	if (c->last) c->last->next = p; else c->first = p;
	c->last = p;
}

void stack_close(conn *c, uint64_t code, const char *reason) {
	if (c->want_close) return;
	c->want_close = true;
	c->want_code = code;
	c->want_reason = reason;
}

uint64_t stack_rtt(conn *c) {
	ngtcp2_conn_stat stat;
	ngtcp2_conn_get_conn_stat(c->q, &stat);
	return stat.smoothed_rtt;
}

// ---- callbacks of ngtcp2

static void on_rand(uint8_t *dest, size_t len, const ngtcp2_rand_ctx *ctx) {
	(void)ctx;
	stack_random(dest, len);
}

static int on_new_cid(ngtcp2_conn *q, ngtcp2_cid *cid, uint8_t *token, size_t len, void *user) {
	(void)q, (void)user;
	stack_random(cid->data, len);
	cid->datalen = len;
	stack_random(token, NGTCP2_STATELESS_RESET_TOKENLEN);
	return 0;
}

static int on_handshake(ngtcp2_conn *q, void *user) {
	conn *c = user;
	gnutls_datum_t alpn;
	if (gnutls_alpn_get_selected_protocol(c->tls, &alpn) != 0) {
		ngtcp2_conn_set_tls_alert(q, GNUTLS_A_NO_APPLICATION_PROTOCOL);
		return NGTCP2_ERR_CALLBACK_FAILURE;
	}
	if (ngtcp2_conn_get_remote_transport_params(q)->max_datagram_frame_size < 128)
		stack_close(c, CODE_UNSUPPORTED, "no datagrams");
	else
		link_ready(&c->link);
	return 0;
}

static int on_stream_data(ngtcp2_conn *q, uint32_t flags, int64_t id, uint64_t offset, const uint8_t *data, size_t len,
                          void *user, void *stream_user) {
	(void)offset, (void)stream_user;
	conn *c = user;
	// What arrives is read at once, so the credit goes back at once.
	ngtcp2_conn_extend_max_stream_offset(q, id, len);
	ngtcp2_conn_extend_max_offset(q, len);
	link_stream_data(&c->link, id, data, len, flags & NGTCP2_STREAM_DATA_FLAG_FIN);
	return 0;
}

static int on_stream_reset(ngtcp2_conn *q, int64_t id, uint64_t size, uint64_t code, void *user, void *stream_user) {
	(void)q, (void)size, (void)stream_user;
	link_stream_reset(&((conn *)user)->link, id, code);
	return 0;
}

static void stream_free(stream *s) {
	for (chunk *k = s->first, *next; k; k = next) {
		next = k->next;
		free(k);
	}
	free(s);
}

static int on_stream_close(ngtcp2_conn *q, uint32_t flags, int64_t id, uint64_t code, void *user, void *stream_user) {
	(void)stream_user;
	conn *c = user;
	// ngtcp2 answers STOP_SENDING by itself, and its code comes only here.
	if (flags & NGTCP2_STREAM_CLOSE_FLAG_APP_ERROR_CODE_SET) link_stream_stopped(&c->link, id, code);
	link_stream_gone(&c->link, id);
	for (stream **p = &c->streams; *p; p = &(*p)->next)
		if ((*p)->id == id) {
			stream *s = *p;
			*p = s->next;
			stream_free(s);
			break;
		}
	if (ngtcp2_conn_is_local_stream(q, id)) return 0;
	if (id & 2) ngtcp2_conn_extend_max_streams_uni(q, 1);
	else ngtcp2_conn_extend_max_streams_bidi(q, 1);
	return 0;
}

static int on_datagram(ngtcp2_conn *q, uint32_t flags, const uint8_t *data, size_t len, void *user) {
	(void)q, (void)flags;
	link_datagram(&((conn *)user)->link, (span){data, len});
	return 0;
}

static const ngtcp2_callbacks callbacks = {
	.client_initial = ngtcp2_crypto_client_initial_cb,
	.recv_client_initial = ngtcp2_crypto_recv_client_initial_cb,
	.recv_crypto_data = ngtcp2_crypto_recv_crypto_data_cb,
	.encrypt = ngtcp2_crypto_encrypt_cb,
	.decrypt = ngtcp2_crypto_decrypt_cb,
	.hp_mask = ngtcp2_crypto_hp_mask_cb,
	.recv_retry = ngtcp2_crypto_recv_retry_cb,
	.update_key = ngtcp2_crypto_update_key_cb,
	.delete_crypto_aead_ctx = ngtcp2_crypto_delete_crypto_aead_ctx_cb,
	.delete_crypto_cipher_ctx = ngtcp2_crypto_delete_crypto_cipher_ctx_cb,
	.get_path_challenge_data = ngtcp2_crypto_get_path_challenge_data_cb,
	.version_negotiation = ngtcp2_crypto_version_negotiation_cb,
	.rand = on_rand,
	.get_new_connection_id = on_new_cid,
	.handshake_completed = on_handshake,
	.recv_stream_data = on_stream_data,
	.stream_reset = on_stream_reset,
	.stream_close = on_stream_close,
	.recv_datagram = on_datagram,
};

// ---- TLS

// The chain may be any; whose key it is decides. GnuTLS checks the signature in CertificateVerify by itself.
static int verify_peer(gnutls_session_t tls) {
	static const char digits[] = "abcdefghijklmnopqrstuvwxyz234567";
	const endpoint *e = gnutls_session_get_ptr(tls) ? ((conn *)((ngtcp2_crypto_conn_ref *)gnutls_session_get_ptr(tls))->user_data)->e : NULL;
	unsigned n = 0;
	const gnutls_datum_t *certs = gnutls_certificate_get_peers(tls, &n);
	gnutls_x509_crt_t crt = NULL;
	gnutls_pubkey_t key = NULL;
	gnutls_datum_t der = {0};
	uint8_t hash[33] = {0};
	char id[53] = "";
	if (e && n && gnutls_x509_crt_init(&crt) == 0 && gnutls_pubkey_init(&key) == 0 &&
	    gnutls_x509_crt_import(crt, &certs[0], GNUTLS_X509_FMT_DER) == 0 && gnutls_pubkey_import_x509(key, crt, 0) == 0 &&
	    gnutls_pubkey_export2(key, GNUTLS_X509_FMT_DER, &der) == 0 &&
	    gnutls_hash_fast(GNUTLS_DIG_SHA256, der.data, der.size, hash) == 0)
		for (int i = 0; i < 52; i++) {
			int bit = i * 5;
			id[i] = digits[((hash[bit / 8] << 8 | hash[bit / 8 + 1]) >> (11 - bit % 8)) & 31];
		}
	gnutls_free(der.data);
	if (key) gnutls_pubkey_deinit(key);
	if (crt) gnutls_x509_crt_deinit(crt);
	return e && strcasecmp(id, e->o.peer_id) == 0 ? 0 : GNUTLS_E_CERTIFICATE_ERROR;
}

static ngtcp2_conn *conn_of(ngtcp2_crypto_conn_ref *ref) { return ((conn *)ref->user_data)->q; }

static bool start_tls(conn *c, bool client) {
	static const char priority[] = "NORMAL:-VERS-ALL:+VERS-TLS1.3:%DISABLE_TLS13_COMPAT_MODE";
	gnutls_datum_t alpn = {(unsigned char *)"quicpeer/1", 10};
	unsigned flags = client ? GNUTLS_CLIENT | GNUTLS_FORCE_CLIENT_CERT : GNUTLS_SERVER;
	if (gnutls_init(&c->tls, flags | GNUTLS_NO_TICKETS | GNUTLS_NO_AUTO_SEND_TICKET) != 0) return false;
	c->ref = (ngtcp2_crypto_conn_ref){.get_conn = conn_of, .user_data = c};
	gnutls_session_set_ptr(c->tls, &c->ref);
	int rv = client ? ngtcp2_crypto_gnutls_configure_client_session(c->tls)
	                : ngtcp2_crypto_gnutls_configure_server_session(c->tls);
	if (!client) gnutls_certificate_server_set_request(c->tls, GNUTLS_CERT_REQUIRE);
	gnutls_session_set_verify_function(c->tls, verify_peer);
	ngtcp2_conn_set_tls_native_handle(c->q, c->tls);
	return rv == 0 && gnutls_priority_set_direct(c->tls, priority, NULL) == 0 &&
	       gnutls_credentials_set(c->tls, GNUTLS_CRD_CERTIFICATE, c->e->cred) == 0 &&
	       gnutls_alpn_set_protocols(c->tls, &alpn, 1, GNUTLS_ALPN_MANDATORY) == 0;
}

// ---- connections

static void random_cid(ngtcp2_cid *cid) {
	cid->datalen = CID_LEN;
	stack_random(cid->data, CID_LEN);
}

static ngtcp2_path path_of(conn *c) {
	return (ngtcp2_path){.local = {(ngtcp2_sockaddr *)&c->e->local, sizeof c->e->local},
		.remote = {(ngtcp2_sockaddr *)&c->remote, sizeof c->remote}};
}

static void conn_free(conn *c) {
	link_free(&c->link);
	for (stream *s = c->streams, *next; s; s = next) {
		next = s->next;
		stream_free(s);
	}
	for (packet *p = c->first, *next; p; p = next) {
		next = p->next;
		free(p);
	}
	ngtcp2_conn_del(c->q);
	if (c->tls) gnutls_deinit(c->tls);
	free(c);
}

// hd is the client's first packet; NULL makes a client.
static conn *conn_new(endpoint *e, const struct sockaddr_in *remote, const ngtcp2_pkt_hd *hd) {
	if (e->n == MAX_LINKS) return NULL;
	conn *c = calloc(1, sizeof *c);
	if (!c) abort();
	c->e = e;
	c->remote = *remote;
	c->link.conn = c;
	c->link.client = hd == NULL;
	c->link.odd_settings = e->o.odd_settings;
	ngtcp2_settings settings;
	ngtcp2_transport_params params;
	ngtcp2_cid scid, dcid;
	ngtcp2_path path = path_of(c);
	ngtcp2_settings_default(&settings);
	settings.initial_ts = stack_now();
	ngtcp2_transport_params_default(&params);
	params.initial_max_streams_bidi = 100;
	params.initial_max_streams_uni = 8;
	params.initial_max_stream_data_bidi_local = params.initial_max_stream_data_bidi_remote = 300000;
	params.initial_max_stream_data_uni = 65536;
	params.initial_max_data = 1 << 20;
	params.max_idle_timeout = 30 * SECOND;
	params.max_datagram_frame_size = e->o.no_datagrams ? 0 : 65535;
	random_cid(&scid);
	random_cid(&dcid);
	int rv;
	if (hd) {
		params.original_dcid = hd->dcid;
		rv = ngtcp2_conn_server_new(&c->q, &hd->scid, &scid, &path, hd->version, &callbacks, &settings, &params, NULL, c);
	} else {
		rv = ngtcp2_conn_client_new(&c->q, &dcid, &scid, &path, NGTCP2_PROTO_VER_V1, &callbacks, &settings, &params, NULL, c);
	}
	if (rv != 0 || !start_tls(c, !hd)) {
		if (rv == 0) conn_free(c);
		else free(c);
		return NULL;
	}
	return e->conns[e->n++] = c;
}

static void send_packet(conn *c, const uint8_t *data, size_t len) {
	// A packet that the system does not take is lost like any other.
	(void)!sendto(c->e->fd, data, len, 0, (struct sockaddr *)&c->remote, sizeof c->remote);
}

static void ended(conn *c, bool here, bool app, uint64_t code) {
	if (c->link.closed) return;
	c->link.closed = true;
	c->link.closed_here = here;
	c->link.closed_by_app = app;
	c->link.close_code = code;
}

static void write_close(conn *c, const ngtcp2_connection_close_error *err) {
	uint8_t out[MAX_PACKET];
	ngtcp2_path path = path_of(c);
	ngtcp2_pkt_info info;
	ngtcp2_ssize n = ngtcp2_conn_write_connection_close(c->q, &path, &info, out, sizeof out, err, stack_now());
	if (n > 0) send_packet(c, out, (size_t)n);
	ended(c, true, err->type == NGTCP2_CONNECTION_CLOSE_ERROR_CODE_TYPE_APPLICATION, err->error_code);
}

static void failed(conn *c, int rv) {
	ngtcp2_connection_close_error err;
	if (rv == NGTCP2_ERR_DRAINING) {
		ngtcp2_conn_get_connection_close_error(c->q, &err);
		ended(c, false, err.type == NGTCP2_CONNECTION_CLOSE_ERROR_CODE_TYPE_APPLICATION, err.error_code);
		return;
	}
	if (rv == NGTCP2_ERR_IDLE_CLOSE || rv == NGTCP2_ERR_DROP_CONN) {
		ended(c, true, false, 0);
		return;
	}
	uint8_t alert = ngtcp2_conn_get_tls_alert(c->q);
	if (alert) ngtcp2_connection_close_error_set_transport_error_tls_alert(&err, alert, NULL, 0);
	else ngtcp2_connection_close_error_set_transport_error_liberr(&err, rv, NULL, 0);
	write_close(c, &err);
}

static chunk *next_chunk(stream *s) {
	chunk *k = s->first;
	while (k && k->done) k = k->next;
	return k;
}

static stream *next_stream(conn *c) {
	for (stream *s = c->streams; s; s = s->next)
		if (!s->blocked && next_chunk(s)) return s;
	return NULL;
}

static void drop_chunks(stream *s) {
	for (chunk *k = s->first; k; k = k->next) k->done = true;
}

// Writes one packet, and returns its size; 0 when there is nothing, or no room in the congestion window.
static ngtcp2_ssize write_packet(conn *c, uint8_t *out, uint64_t now) {
	ngtcp2_path path = path_of(c);
	ngtcp2_pkt_info info;
	for (;;) {
		packet *p = c->link.ready ? c->first : NULL;
		stream *s = c->link.ready && !p ? next_stream(c) : NULL;
		if (p) {
			int accepted = 0;
			ngtcp2_vec v = {p->data, p->len};
			ngtcp2_ssize n = ngtcp2_conn_writev_datagram(c->q, &path, &info, out, MAX_PACKET, &accepted,
				NGTCP2_WRITE_DATAGRAM_FLAG_NONE, 0, &v, 1, now);
			if (accepted) {
				c->first = p->next;
				if (!c->first) c->last = NULL;
				free(p);
			}
			return n;
		}
		if (!s) return ngtcp2_conn_write_stream(c->q, &path, &info, out, MAX_PACKET, NULL, 0, -1, NULL, 0, now);
		chunk *k = next_chunk(s);
		ngtcp2_ssize taken = -1;
		ngtcp2_vec v = {k->data + k->written, k->len - k->written};
		ngtcp2_ssize n = ngtcp2_conn_writev_stream(c->q, &path, &info, out, MAX_PACKET, &taken,
			k->fin ? NGTCP2_WRITE_STREAM_FLAG_FIN : NGTCP2_WRITE_STREAM_FLAG_NONE, s->id, &v, 1, now);
		if (n == NGTCP2_ERR_STREAM_DATA_BLOCKED) s->blocked = true;
		else if (n == NGTCP2_ERR_STREAM_NOT_FOUND || n == NGTCP2_ERR_STREAM_SHUT_WR) drop_chunks(s);
		else {
			if (taken >= 0) k->written += (size_t)taken;
			if (taken >= 0 && k->written == k->len) k->done = true;
			return n;
		}
	}
}

static void write_packets(conn *c) {
	uint8_t out[MAX_PACKET];
	uint64_t now = stack_now();
	for (stream *s = c->streams; s; s = s->next) s->blocked = false;
	for (int i = 0; i < TURN_PACKETS; i++) {
		ngtcp2_ssize n = write_packet(c, out, now);
		if (n < 0) failed(c, (int)n);
		if (n <= 0) break;
		send_packet(c, out, (size_t)n);
	}
	ngtcp2_conn_update_pkt_tx_time(c->q, now);
}

static void flush(conn *c) {
	if (c->link.closed) return;
	write_packets(c);
	bool more = false;
	for (stream *s = c->streams; s; s = s->next) {
		if (s->reset) ngtcp2_conn_shutdown_stream_write(c->q, s->id, s->reset_code), drop_chunks(s);
		if (s->stop) ngtcp2_conn_shutdown_stream_read(c->q, s->id, s->stop_code);
		more |= s->reset || s->stop;
		s->reset = s->stop = false;
	}
	if (more && !c->link.closed) write_packets(c);
	if (!c->want_close || c->link.closed) return;
	ngtcp2_connection_close_error err;
	ngtcp2_connection_close_error_set_application_error(&err, c->want_code, (const uint8_t *)c->want_reason, strlen(c->want_reason));
	write_close(c, &err);
}

static conn *find_conn(endpoint *e, const ngtcp2_cid *dcid) {
	for (size_t i = 0; i < e->n; i++) {
		conn *c = e->conns[i];
		ngtcp2_cid cids[32];
		size_t n = ngtcp2_conn_get_num_scid(c->q);
		if (n > 32) continue;
		ngtcp2_conn_get_scid(c->q, cids);
		for (size_t k = 0; k < n; k++)
			if (ngtcp2_cid_eq(&cids[k], dcid)) return c;
		if (!c->link.client && ngtcp2_cid_eq(ngtcp2_conn_get_client_initial_dcid(c->q), dcid)) return c;
	}
	return NULL;
}

static void read_packet(endpoint *e, const uint8_t *data, size_t len, const struct sockaddr_in *from) {
	ngtcp2_version_cid vc;
	ngtcp2_cid dcid;
	if (ngtcp2_pkt_decode_version_cid(&vc, data, len, CID_LEN) != 0 || vc.dcidlen > NGTCP2_MAX_CIDLEN) return;
	ngtcp2_cid_init(&dcid, vc.dcid, vc.dcidlen);
	conn *c = find_conn(e, &dcid);
	ngtcp2_pkt_hd hd;
	if (!c && e->o.accepting && ngtcp2_accept(&hd, data, len) == 0) c = conn_new(e, from, &hd);
	if (!c || c->link.closed) return;
	// Where it came from counts only once ngtcp2 has read it; to where to write, ngtcp2 says.
	struct sockaddr_in remote = *from;
	ngtcp2_path path = path_of(c);
	path.remote.addr = (ngtcp2_sockaddr *)&remote;
	ngtcp2_pkt_info info = {0};
	int rv = ngtcp2_conn_read_pkt(c->q, &path, &info, data, len, stack_now());
	if (rv != 0) failed(c, rv);
}

void endpoint_turn(endpoint *e, uint64_t until) {
	uint8_t in[65536];
	for (size_t i = 0; i < e->n; i++) {
		conn *c = e->conns[i];
		uint64_t due = link_step(&c->link);
		flush(c);
		if (c->link.closed) continue;
		uint64_t expiry = ngtcp2_conn_get_expiry(c->q);
		due = expiry < due ? expiry : due;
		until = due < until ? due : until;
	}
	uint64_t now = stack_now();
	struct pollfd p = {.fd = e->fd, .events = POLLIN};
	poll(&p, 1, until <= now ? 0 : (int)((until - now + MS - 1) / MS));
	for (int i = 0; i < TURN_PACKETS; i++) {
		struct sockaddr_in from;
		socklen_t len = sizeof from;
		ssize_t n = recvfrom(e->fd, in, sizeof in, MSG_DONTWAIT, (struct sockaddr *)&from, &len);
		if (n < 0) break;
		read_packet(e, in, (size_t)n, &from);
	}
	for (size_t i = 0; i < e->n; i++) {
		conn *c = e->conns[i];
		now = stack_now();
		if (c->link.closed || ngtcp2_conn_get_expiry(c->q) > now) continue;
		int rv = ngtcp2_conn_handle_expiry(c->q, now);
		if (rv != 0) failed(c, rv);
	}
}

endpoint *endpoint_new(const struct sockaddr_in *local, const options *o) {
	endpoint *e = calloc(1, sizeof *e);
	if (!e) abort();
	e->o = *o;
	e->local = *local;
	socklen_t len = sizeof e->local;
	e->fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	bool ok = e->fd >= 0 && bind(e->fd, (const struct sockaddr *)local, sizeof *local) == 0 &&
		getsockname(e->fd, (struct sockaddr *)&e->local, &len) == 0 &&
		gnutls_certificate_allocate_credentials(&e->cred) == 0 &&
		(o->anonymous || gnutls_certificate_set_x509_key_file(e->cred, o->cert, o->key, GNUTLS_X509_FMT_PEM) >= 0);
	if (ok) return e;
	endpoint_free(e);
	return NULL;
}

void endpoint_free(endpoint *e) {
	for (size_t i = 0; i < e->n; i++) conn_free(e->conns[i]);
	if (e->cred) gnutls_certificate_free_credentials(e->cred);
	if (e->fd >= 0) close(e->fd);
	free(e);
}

int endpoint_port(const endpoint *e) { return ntohs(e->local.sin_port); }

peer_link *endpoint_dial(endpoint *e, const struct sockaddr_in *remote) {
	conn *c = conn_new(e, remote, NULL);
	return c ? &c->link : NULL;
}

peer_link *endpoint_link(endpoint *e, size_t n) { return n < e->n ? &e->conns[n]->link : NULL; }
struct sockaddr_in endpoint_remote(const peer_link *l) { return l->conn->remote; }
