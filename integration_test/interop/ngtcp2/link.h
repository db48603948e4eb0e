// Links and sessions of quicpeer/1, over the calls of stack.h.
#pragma once
#include "codec.h"
#include "stack.h"

enum { CODE_NORMAL = 0, CODE_VIOLATION = 1, CODE_REFUSED = 2, CODE_GOING_AWAY = 5, CODE_UNSUPPORTED = 7, CODE_INTERNAL = 8 };
enum { MAX_SIGNALS = 16, MAX_DATAGRAM = 1150, MAX_MESSAGE = 65536, ASSEMBLIES = 8, SEEN = 8192, EARLY = 64, FINISHED = 64 };

typedef struct { buf *v; size_t n; } list;
typedef struct { bool used; uint64_t id, total, got, since; uint8_t *data, *have; } assembly;
typedef struct peer_link peer_link;

typedef struct session {
	struct session *next;
	peer_link *link;
	int64_t stream;
	uint64_t id;
	bool opener;
	parser in;
	buf protocol, metadata, accept_metadata, reason, peer_reason;
	uint64_t code, peer_code, retry_after, abort_code;
	bool open_read, accept_sent, accept_read, reject_sent, reject_read;
	bool close_sent, close_read, ack_sent, ack_read, done_sent, done_read;
	bool bare_sent, bare_read; // a FIN in place of CLOSE
	bool fin_sent, fin_read, reset_sent, stop_sent, reset_read, aborted;
	uint64_t reset_code;       // of the peer's RESET_STREAM
	bool acceptor_closed;      // CLOSE_ACK came as the acceptor's first frame
	bool hold_ack, frozen;
	struct { bool set; uint64_t code; const char *reason; } cross; // a CLOSE to send when the peer's is read
	uint64_t sent, end, received, late, dropped;
	uint64_t peer_sent, peer_end, peer_received;
	bool knows_peer_sent, knows_peer_received;
	uint64_t signals_sent, signals_acked, signals_received, signals_taken;
	uint64_t message_id, stragglers_since, deadline, deadline_code;
	list messages, signals;
	assembly parts[ASSEMBLIES];
	uint64_t finished[FINISHED];
	size_t finished_n;
} session;

typedef struct uni { struct uni *next; int64_t stream; buf head; bool typed, link_stream; parser in; } uni;

struct peer_link {
	conn *conn;
	bool client, ready, goaway_sent, goaway_read, settings_read, odd_settings;
	bool closed, closed_here, closed_by_app; // CONNECTION_CLOSE, and by whom; without closed_by_app the code is QUIC's
	uint64_t close_code;
	int64_t out;               // the link stream
	buf instance, goaway_reason;
	uint64_t goaway_code, ping, heartbeat, next_heartbeat, pongs, echoes, stopped_code;
	int64_t stopped_stream;
	uint64_t number, highest, noticed[SEEN];
	bool any_seen, seen[SEEN];
	session *sessions;
	uni *unis;
	uint64_t incoming_seen;    // streams that the peer opened
	struct { uint64_t session, at; buf payload; } early[EARLY];
	size_t early_n, early_bytes;
	uint64_t dropped;
};

void list_add(list *l, const void *p, size_t len);
span list_at(const list *l, size_t i);

// Called by the stack.
void link_ready(peer_link *l);
void link_stream_data(peer_link *l, int64_t stream, const uint8_t *data, size_t len, bool fin);
void link_stream_reset(peer_link *l, int64_t stream, uint64_t code);
void link_stream_stopped(peer_link *l, int64_t stream, uint64_t code);
void link_stream_gone(peer_link *l, int64_t stream);
void link_datagram(peer_link *l, span data);
uint64_t link_step(peer_link *l); // what is due; returns when it wants to be called again
void link_free(peer_link *l);

void link_goaway(peer_link *l);
void link_ping(peer_link *l);
void link_heartbeat(peer_link *l);
void link_frame(peer_link *l, const frame *f);
void link_dgram(peer_link *l, uint64_t kind, uint64_t session, span payload);
bool link_quiet(const peer_link *l); // all sessions are over

session *session_open(peer_link *l, const char *protocol, span metadata);
session *session_open_odd(peer_link *l, const char *protocol, span metadata, span behind_open);
void session_write(session *s, const frame *f, bool fin);
void session_accept(session *s);
void session_reject(session *s, uint64_t code, const char *reason, uint64_t retry_after);
uint64_t session_next_id(const peer_link *l);
void session_message(session *s, span payload);
void session_fragments(session *s, span payload, size_t piece, bool reverse);
void session_bundle(session *s, const span *payloads, size_t n, size_t padding);
bool session_signal(session *s, span payload); // false without credit
void session_take_signals(session *s, uint64_t taken);
void session_close(session *s, uint64_t code, const char *reason);
void session_close_frame(const session *s, frame *f);
void session_bare_fin(session *s);
void session_abort(session *s, uint64_t code);
bool session_opened(const session *s);
bool session_over(const session *s);
const char *session_end(const session *s);

// What the acceptors do (serve.c).
void serve_open(session *s);
void serve_message(session *s, span payload);
void serve_signals(session *s);
void serve_close(session *s);
