#include "link.h"

#include <stdlib.h>
#include <string.h>

enum { HEARTBEAT_SECONDS = 5, WAIT_SECONDS = 5, EARLY_BYTES = 65536, ASSEMBLY_BYTES = 256 * 1024 };

void list_add(list *l, const void *p, size_t len) {
	buf *v = realloc(l->v, (l->n + 1) * sizeof *v);
	if (!v) abort();
	l->v = v;
	l->v[l->n] = (buf){0};
	buf_add(&l->v[l->n++], p, len);
}

span list_at(const list *l, size_t i) { return (span){l->v[i].p, l->v[i].len}; }

static void list_free(list *l) {
	for (size_t i = 0; i < l->n; i++) buf_free(&l->v[i]);
	free(l->v);
}

static void keep(buf *b, span s) {
	buf_drop(b, b->len);
	buf_add(b, s.p, s.len);
}

static session *find_stream(peer_link *l, int64_t stream) {
	session *s = l->sessions;
	while (s && s->stream != stream) s = s->next;
	return s;
}

static session *find_id(peer_link *l, uint64_t id) {
	session *s = l->sessions;
	while (s && s->id != id) s = s->next;
	return s;
}

static session *session_new(peer_link *l, int64_t stream, bool opener) {
	session *s = calloc(1, sizeof *s);
	if (!s) abort();
	*s = (session){.link = l, .stream = stream, .opener = opener, .next = l->sessions,
		.id = (uint64_t)stream >> 2 << 1 | ((uint64_t)stream & 1)};
	l->sessions = s;
	return s;
}

bool session_opened(const session *s) { return s->opener ? s->accept_read : s->accept_sent; }
static bool rejected(const session *s) { return s->reject_sent || s->reject_read; }

bool session_over(const session *s) {
	return (s->fin_sent || s->reset_sent) && (s->fin_read || s->reset_read);
}

const char *session_end(const session *s) {
	if (rejected(s)) return "rejected";
	if (s->aborted) return "aborted";
	if (s->close_sent && s->close_read && !s->bare_read && s->ack_sent && s->ack_read) return "crossed";
	if ((s->close_sent || s->bare_sent) && s->ack_read) return "closed";
	if (s->close_read && s->ack_sent) return "peer-closed";
	return "lost";
}

bool link_quiet(const peer_link *l) {
	for (const session *s = l->sessions; s; s = s->next)
		if (!session_over(s)) return false;
	return true;
}

// ---- datagrams out

static void send_dgram(peer_link *l, dgram *d) {
	buf out = {0};
	d->number = l->number++;
	dgram_encode(&out, d);
	stack_datagram(l->conn, out.p, out.len);
	buf_free(&out);
}

void link_dgram(peer_link *l, uint64_t kind, uint64_t session, span payload) {
	send_dgram(l, &(dgram){.kind = kind, .session = session, .payload = payload});
}

void link_heartbeat(peer_link *l) {
	uint8_t token[8];
	stack_random(token, sizeof token);
	memcpy(&l->heartbeat, token, 8);
	link_dgram(l, D_HEARTBEAT, 0, (span){token, 8});
	l->next_heartbeat = stack_now() + HEARTBEAT_SECONDS * SECOND;
}

static void count_sent(session *s, uint64_t messages) {
	s->sent += messages;
	s->end = s->link->number;
}

void session_fragments(session *s, span payload, size_t piece, bool reverse) {
	uint64_t id = s->message_id++;
	size_t pieces = (payload.len + piece - 1) / piece;
	for (size_t i = 0; i < pieces; i++) {
		size_t at = (reverse ? pieces - 1 - i : i) * piece, len = payload.len - at < piece ? payload.len - at : piece;
		send_dgram(s->link, &(dgram){.kind = D_FRAGMENT, .session = s->id, .message = id, .total = payload.len,
			.offset = at, .payload = {payload.p + at, len}});
	}
	count_sent(s, 1);
}

void session_message(session *s, span payload) {
	if (payload.len + 17 > MAX_DATAGRAM) { // 17: the most that kind, number and session id take
		session_fragments(s, payload, MAX_DATAGRAM - 50, false);
		return;
	}
	link_dgram(s->link, D_MESSAGE, s->id, payload);
	count_sent(s, 1);
}

void session_bundle(session *s, const span *payloads, size_t n, size_t padding) {
	static const uint8_t zeros[64];
	buf items = {0};
	for (size_t i = 0; i < n; i++) bundle_add(&items, s->id, payloads[i]);
	if (padding) bundle_add(&items, INT_MAX62, (span){zeros, padding});
	link_dgram(s->link, D_BUNDLE, 0, (span){items.p, items.len});
	count_sent(s, n);
	buf_free(&items);
}

// ---- frames out

void link_frame(peer_link *l, const frame *f) {
	buf out = {0};
	frame_encode(&out, f);
	stack_write(l->conn, l->out, out.p, out.len, false);
	buf_free(&out);
}

void link_ping(peer_link *l) {
	uint8_t token[8];
	stack_random(token, sizeof token);
	memcpy(&l->ping, token, 8);
	link_frame(l, &(frame){.type = F_PING, .v = {{.s = {token, 8}}}});
}

void link_goaway(peer_link *l) {
	// Every stream that was seen has been answered one way or the other.
	uint64_t first = l->incoming_seen << 1 | (l->client ? 1 : 0);
	l->goaway_sent = true;
	link_frame(l, &(frame){.type = F_GOAWAY, .v = {[GOAWAY_CODE] = {.n = CODE_GOING_AWAY}, [GOAWAY_FIRST] = {.n = first}}});
}

static void begin_wait(session *s, uint64_t code) {
	s->deadline = stack_now() + WAIT_SECONDS * SECOND;
	s->deadline_code = code;
}

void session_write(session *s, const frame *f, bool fin) {
	if (s->fin_sent || s->reset_sent) return;
	buf out = {0};
	if (f) frame_encode(&out, f);
	stack_write(s->link->conn, s->stream, out.p, out.len, fin);
	buf_free(&out);
	if (!fin) return;
	s->fin_sent = true;
	begin_wait(s, s->close_sent ? s->code : s->peer_code);
}

session *session_open_odd(peer_link *l, const char *protocol, span metadata, span behind) {
	int64_t stream = stack_open(l->conn, true);
	if (stream < 0) return NULL;
	session *s = session_new(l, stream, true);
	keep(&s->protocol, span_of(protocol));
	buf out = {0};
	frame_encode(&out, &(frame){.type = F_OPEN, .v = {{.s = span_of(protocol)}, {.s = metadata}}});
	buf_add(&out, behind.p, behind.len);
	stack_write(l->conn, stream, out.p, out.len, false);
	buf_free(&out);
	return s;
}

session *session_open(peer_link *l, const char *protocol, span metadata) {
	return session_open_odd(l, protocol, metadata, (span){0});
}

uint64_t session_next_id(const peer_link *l) {
	uint64_t n = 0;
	for (const session *s = l->sessions; s; s = s->next) n += s->opener;
	return n << 1 | (l->client ? 0 : 1);
}

static void deliver(session *s, span payload);

// The messages that came before their session go to it first, in their order.
static void deliver_early(session *s, bool take) {
	peer_link *l = s->link;
	size_t kept = 0;
	for (size_t i = 0; i < l->early_n; i++) {
		if (l->early[i].session != s->id) {
			l->early[kept++] = l->early[i];
			continue;
		}
		if (take) deliver(s, (span){l->early[i].payload.p, l->early[i].payload.len});
		else l->dropped++;
		l->early_bytes -= l->early[i].payload.len;
		buf_free(&l->early[i].payload);
	}
	l->early_n = kept;
}

void session_accept(session *s) {
	s->accept_sent = true;
	session_write(s, &(frame){.type = F_ACCEPT, .v = {{.s = {s->metadata.p, s->metadata.len}}}}, false);
	deliver_early(s, true);
}

void session_reject(session *s, uint64_t code, const char *reason, uint64_t retry_after) {
	s->reject_sent = true;
	s->code = code;
	keep(&s->reason, span_of(reason));
	session_write(s, &(frame){.type = F_REJECT, .v = {{.n = code}, {.s = span_of(reason)}, {.n = retry_after}}}, true);
	deliver_early(s, false);
}

bool session_signal(session *s, span payload) {
	if (s->signals_sent - s->signals_acked >= MAX_SIGNALS) return false;
	s->signals_sent++;
	session_write(s, &(frame){.type = F_SIGNAL, .v = {{.s = payload}}}, false);
	return true;
}

void session_take_signals(session *s, uint64_t taken) {
	if (taken <= s->signals_taken) return;
	s->signals_taken = taken;
	if (!s->ack_sent && !s->done_sent)
		session_write(s, &(frame){.type = F_SIGNAL_ACK, .v = {{.n = taken}}}, false);
}

void session_close_frame(const session *s, frame *f) {
	*f = (frame){.type = F_CLOSE, .v = {{.n = s->code}, {.s = {s->reason.p, s->reason.len}}, {.n = s->sent},
		{.n = s->end}, {.n = s->signals_received}, {.n = s->signals_taken}}};
}

void session_close(session *s, uint64_t code, const char *reason) {
	frame f;
	s->close_sent = true;
	s->code = code;
	keep(&s->reason, span_of(reason));
	session_close_frame(s, &f);
	session_write(s, &f, false);
	begin_wait(s, code);
}

void session_bare_fin(session *s) {
	s->bare_sent = true;
	session_write(s, NULL, true);
}

static void stop_and_reset(session *s, uint64_t code) {
	if (!s->fin_read && !s->reset_read && !s->stop_sent) stack_stop(s->link->conn, s->stream, code), s->stop_sent = true;
	if (!s->reset_sent) stack_reset(s->link->conn, s->stream, code), s->reset_sent = true;
	deliver_early(s, false);
}

void session_abort(session *s, uint64_t code) {
	if (!s->aborted && strcmp(session_end(s), "lost") == 0) {
		s->aborted = true;
		s->abort_code = code;
	}
	stop_and_reset(s, code);
}

static void link_violation(peer_link *l, const char *reason) { stack_close(l->conn, CODE_VIOLATION, reason); }

// ---- frames in

static bool open_order(session *s) {
	return session_opened(s) && !s->close_read && !s->ack_read;
}

static bool read_close(session *s, const field *v) {
	bool may = s->opener ? s->accept_read : true;
	if (!may || s->close_read || s->ack_read || s->bare_sent) return false;
	if (v[CLOSE_SIG_RECEIVED].n > s->signals_sent || v[CLOSE_SENT].n < s->received) return false;
	s->close_read = true;
	s->peer_code = v[CLOSE_CODE].n;
	keep(&s->peer_reason, v[CLOSE_REASON].s);
	s->peer_sent = v[CLOSE_SENT].n;
	s->peer_end = v[CLOSE_END].n;
	s->knows_peer_sent = true;
	s->stragglers_since = stack_now();
	if (s->cross.set && !s->close_sent) session_close(s, s->cross.code, s->cross.reason);
	serve_close(s);
	return true;
}

static bool read_close_ack(session *s, const field *v) {
	if (!(s->close_sent || s->bare_sent) || s->ack_read) return false;
	if (v[ACK_RECEIVED].n > s->sent || v[ACK_SIG_RECEIVED].n > s->signals_sent) return false;
	if (v[ACK_SENT].n < s->received) return false;
	if (s->knows_peer_sent && (v[ACK_SENT].n != s->peer_sent || v[ACK_END].n != s->peer_end)) return false;
	s->acceptor_closed = s->opener && !s->accept_read;
	s->ack_read = true;
	s->peer_sent = v[ACK_SENT].n;
	s->peer_end = v[ACK_END].n;
	s->knows_peer_sent = true;
	s->peer_received = v[ACK_RECEIVED].n;
	s->knows_peer_received = true;
	if (!s->close_read) s->stragglers_since = stack_now();
	return true;
}

static bool read_done(session *s, const field *v) {
	if (!s->ack_sent || s->close_sent || s->bare_read || s->done_read || v[DONE_RECEIVED].n > s->sent) return false;
	s->done_read = true;
	s->peer_received = v[DONE_RECEIVED].n;
	s->knows_peer_received = true;
	return true;
}

static void read_reject(session *s, uint64_t code, span reason, uint64_t retry_after) {
	s->reject_read = true;
	s->code = code;
	keep(&s->reason, reason);
	s->retry_after = retry_after;
	session_write(s, NULL, true);
}

// Returns false for a violation.
static bool session_frame(session *s, const frame *f) {
	const field *v = f->v;
	if (s->reject_sent) return true; // what crossed the rejection
	if (!s->opener && !s->open_read && f->type != F_OPEN) return false;
	if (s->opener && !s->accept_read && f->type != F_ACCEPT && f->type != F_REJECT && f->type != F_CLOSE_ACK) return false;
	if (s->reject_read) return false;
	switch (f->type) {
	case F_OPEN:
		if (s->opener || s->open_read) return false;
		s->open_read = true;
		keep(&s->protocol, v[OPEN_PROTOCOL].s);
		keep(&s->metadata, v[OPEN_METADATA].s);
		if (s->link->goaway_sent) session_reject(s, CODE_GOING_AWAY, "", 0);
		else serve_open(s);
		return true;
	case F_ACCEPT:
		if (!s->opener || s->accept_read || s->ack_read) return false;
		s->accept_read = true;
		keep(&s->accept_metadata, v[0].s);
		return true;
	case F_REJECT:
		if (!s->opener || s->accept_read || s->ack_read) return false;
		read_reject(s, v[REJECT_CODE].n, v[REJECT_REASON].s, v[REJECT_RETRY].n);
		return true;
	case F_SIGNAL:
		if (!open_order(s) || s->signals_received - s->signals_taken >= MAX_SIGNALS) return false;
		s->signals_received++;
		list_add(&s->signals, v[0].s.p, v[0].s.len);
		serve_signals(s);
		return true;
	case F_SIGNAL_ACK:
		if (!session_opened(s) || s->ack_read || s->done_read || v[0].n > s->signals_sent) return false;
		if (v[0].n > s->signals_acked) s->signals_acked = v[0].n;
		serve_signals(s);
		return true;
	case F_REPORT: return open_order(s) && v[REPORT_RECEIVED].n <= s->sent;
	case F_CLOSE: return read_close(s, v);
	case F_CLOSE_ACK: return read_close_ack(s, v);
	case F_DONE: return read_done(s, v);
	default: return false; // a frame of the link stream
	}
}

static void session_fin(session *s) {
	s->fin_read = true;
	if (!parser_between_frames(&s->in) || (!s->opener && !s->open_read)) {
		session_abort(s, CODE_VIOLATION);
	} else if (rejected(s)) {
		session_write(s, NULL, true);
	} else if (s->opener && !s->accept_read && !s->ack_read) {
		read_reject(s, CODE_INTERNAL, (span){0}, 0);
	} else if (!s->close_read && !s->ack_read) {
		s->close_read = s->bare_read = true;
		s->stragglers_since = stack_now();
		serve_close(s);
	}
}

static bool uni_frame(peer_link *l, const frame *f) {
	const field *v = f->v;
	if ((f->type == F_SETTINGS) == l->settings_read) return false; // first, and once
	switch (f->type) {
	case F_SETTINGS:
		l->settings_read = true;
		if (v[SET_INSTANCE].set) keep(&l->instance, v[SET_INSTANCE].s);
		return true;
	case F_GOAWAY:
		l->goaway_read = true;
		l->goaway_code = v[GOAWAY_CODE].n;
		keep(&l->goaway_reason, v[GOAWAY_REASON].s);
		return true;
	case F_PING:
		link_frame(l, &(frame){.type = F_PONG, .v = {{.s = v[0].s}}});
		return true;
	case F_PONG:
		if (memcmp(v[0].s.p, &l->ping, 8) == 0) l->pongs++;
		return true;
	default: return false;
	}
}

static void uni_data(peer_link *l, int64_t stream, const uint8_t *data, size_t len, bool fin) {
	uni *u = l->unis;
	while (u && u->stream != stream) u = u->next;
	if (!u) {
		u = calloc(1, sizeof *u);
		if (!u) abort();
		u->stream = stream;
		u->next = l->unis;
		l->unis = u;
	}
	if (u->typed && !u->link_stream) return;
	if (!u->typed) {
		uint64_t type;
		buf_add(&u->head, data, len);
		span in = {u->head.p, u->head.len};
		if (!take_int(&in, &type)) return;
		u->typed = true;
		if (type != 0) {
			stack_stop(l->conn, stream, CODE_UNSUPPORTED);
			return;
		}
		for (const uni *o = l->unis; o; o = o->next)
			if (o->link_stream) {
				link_violation(l, "a second link stream");
				return;
			}
		u->link_stream = true;
		parser_feed(&u->in, in.p, in.len);
	} else {
		parser_feed(&u->in, data, len);
	}
	frame f;
	parse_result r;
	while ((r = parser_next(&u->in, &f)) == PARSE_FRAME)
		if (!uni_frame(l, &f)) {
			link_violation(l, "a frame out of place on the link stream");
			return;
		}
	if (r != PARSE_MORE) link_violation(l, "a malformed frame on the link stream");
	else if (fin) link_violation(l, "the link stream ended");
}

void link_stream_data(peer_link *l, int64_t stream, const uint8_t *data, size_t len, bool fin) {
	if (stream & 2) {
		uni_data(l, stream, data, len, fin);
		return;
	}
	session *s = find_stream(l, stream);
	if (!s) {
		s = session_new(l, stream, false);
		uint64_t seen = ((uint64_t)stream >> 2) + 1;
		if (seen > l->incoming_seen) l->incoming_seen = seen;
	}
	if (s->aborted) return;
	frame f;
	parse_result r;
	parser_feed(&s->in, data, len);
	while ((r = parser_next(&s->in, &f)) == PARSE_FRAME) {
		if (!session_frame(s, &f)) session_abort(s, CODE_VIOLATION);
		if (s->aborted) return;
	}
	if (r != PARSE_MORE) session_abort(s, CODE_VIOLATION);
	else if (fin) session_fin(s);
}

void link_stream_reset(peer_link *l, int64_t stream, uint64_t code) {
	if (stream & 2) {
		for (const uni *u = l->unis; u; u = u->next)
			if (u->stream == stream && u->link_stream) link_violation(l, "the link stream was reset");
		return;
	}
	session *s = find_stream(l, stream);
	if (!s || s->reset_read) return;
	s->reset_read = true;
	s->reset_code = code;
	session_abort(s, code);
}

void link_stream_stopped(peer_link *l, int64_t stream, uint64_t code) {
	l->stopped_stream = stream;
	l->stopped_code = code;
	session *s = find_stream(l, stream);
	if (s && !s->aborted) session_abort(s, code);
}

// The stack has seen the last of both directions, resets included.
void link_stream_gone(peer_link *l, int64_t stream) {
	session *s = find_stream(l, stream);
	if (s && s->aborted) s->reset_read = s->reset_sent = true;
}

// ---- datagrams in

static void deliver(session *s, span payload) {
	if (s->aborted || rejected(s)) return;
	if (s->frozen) {
		s->late++;
		return;
	}
	s->received++;
	list_add(&s->messages, payload.p, payload.len);
	serve_message(s, payload);
}

static void expire_early(peer_link *l, uint64_t now) {
	while (l->early_n && now >= l->early[0].at + SECOND) {
		l->early_bytes -= l->early[0].payload.len;
		buf_free(&l->early[0].payload);
		memmove(l->early, l->early + 1, --l->early_n * sizeof l->early[0]);
		l->dropped++;
	}
}

static void message_in(peer_link *l, uint64_t id, span payload) {
	bool ours = (id & 1) == (l->client ? 0 : 1);
	session *s = find_id(l, id);
	if (s && (session_over(s) || s->aborted || rejected(s))) s->late++;
	else if (s && (ours || s->accept_sent)) deliver(s, payload);
	else if (ours || l->early_n == EARLY || l->early_bytes + payload.len > EARLY_BYTES) l->dropped++;
	else {
		l->early[l->early_n].session = id;
		l->early[l->early_n].at = stack_now();
		l->early[l->early_n].payload = (buf){0};
		buf_add(&l->early[l->early_n++].payload, payload.p, payload.len);
		l->early_bytes += payload.len;
	}
}

static void give_up(assembly *a) {
	free(a->data);
	free(a->have);
	*a = (assembly){0};
}

static void finish(session *s, assembly *a) {
	s->finished[s->finished_n++ % FINISHED] = a->id;
	give_up(a);
}

// An incomplete message is no message received.
static void drop_part(session *s, assembly *a) {
	s->link->dropped++;
	finish(s, a);
}

static assembly *find_part(session *s, const dgram *d) {
	assembly *place = NULL, *oldest = NULL;
	uint64_t bytes = d->total;
	for (size_t i = 0; i < s->finished_n && i < FINISHED; i++)
		if (s->finished[i] == d->message) return NULL;
	for (int i = 0; i < ASSEMBLIES; i++) {
		assembly *a = &s->parts[i];
		if (a->used && a->id == d->message) return a;
		if (!a->used) place = a;
		else if (!oldest || a->since < oldest->since) oldest = a;
		bytes += a->total;
	}
	if (oldest && (!place || bytes > ASSEMBLY_BYTES)) {
		drop_part(s, oldest);
		return find_part(s, d);
	}
	*place = (assembly){.used = true, .id = d->message, .total = d->total, .since = stack_now(),
		.data = malloc(d->total), .have = calloc(d->total, 1)};
	if (!place->data || !place->have) abort();
	return place;
}

static void fragment_in(peer_link *l, const dgram *d) {
	session *s = find_id(l, d->session);
	if (!s || !(s->opener || s->accept_sent) || s->aborted || rejected(s) || s->frozen) {
		l->dropped++;
		return;
	}
	if (d->total > MAX_MESSAGE) {
		session_abort(s, CODE_VIOLATION);
		return;
	}
	assembly *a = find_part(s, d);
	if (!a) return;
	bool agrees = a->total == d->total;
	for (size_t i = 0; agrees && i < d->payload.len; i++) {
		size_t at = d->offset + i;
		if (a->have[at]) {
			agrees = a->data[at] == d->payload.p[i];
			continue;
		}
		a->have[at] = 1;
		a->data[at] = d->payload.p[i];
		a->got++;
	}
	if (!agrees) {
		drop_part(s, a);
	} else if (a->got == a->total) {
		buf whole = {0};
		buf_add(&whole, a->data, a->total);
		finish(s, a);
		deliver(s, (span){whole.p, whole.len});
		buf_free(&whole);
	}
}

// Marks a number as seen; false if it was, or is too old to tell.
static bool see(peer_link *l, uint64_t n) {
	if (!l->any_seen || n > l->highest) {
		uint64_t from = l->any_seen ? l->highest + 1 : 0;
		if (n - from >= SEEN) from = n - SEEN + 1;
		for (uint64_t i = from; i <= n; i++) {
			l->seen[i % SEEN] = false;
			l->noticed[i % SEEN] = stack_now();
		}
		l->highest = n;
		l->any_seen = true;
	} else if (l->highest - n >= SEEN || l->seen[n % SEEN]) return false;
	return l->seen[n % SEEN] = true;
}

void link_datagram(peer_link *l, span in) {
	dgram d;
	dgram_result r = dgram_decode(in, &d);
	if (r == DGRAM_INVALID) {
		session *s = d.has_session ? find_id(l, d.session) : NULL;
		if (s && session_opened(s) && !session_over(s)) session_abort(s, CODE_VIOLATION);
		else l->dropped++;
		return;
	}
	if (!see(l, d.number) || r == DGRAM_UNKNOWN) {
		l->dropped++;
		return;
	}
	uint64_t id;
	span payload;
	switch (d.kind) {
	case D_MESSAGE: message_in(l, d.session, d.payload); break;
	case D_BUNDLE:
		while (bundle_next(&d.payload, &id, &payload))
			if (id != INT_MAX62) message_in(l, id, payload);
		break;
	case D_FRAGMENT: fragment_in(l, &d); break;
	case D_HEARTBEAT: link_dgram(l, D_ECHO, 0, d.payload); break;
	case D_ECHO:
		if (memcmp(d.payload.p, &l->heartbeat, 8) == 0) l->echoes++;
		break;
	default: break; // credit: this side sends little and needs none
	}
}

// ---- time

// When to freeze the counts (section 8.8): now if it is not later than that.
static uint64_t stragglers_until(const session *s) {
	const peer_link *l = s->link;
	uint64_t grace = stack_rtt(l->conn) / 2, until = 0;
	grace = grace < 10 * MS ? 10 * MS : grace > 250 * MS ? 250 * MS : grace;
	if (!s->knows_peer_sent) return s->stragglers_since + grace;
	if (s->received >= s->peer_sent) return 0;
	uint64_t n = l->any_seen && l->highest >= SEEN ? l->highest - SEEN + 1 : 0;
	for (; n < s->peer_end; n++) {
		if (!l->any_seen || n > l->highest) return s->stragglers_since + grace;
		if (!l->seen[n % SEEN] && l->noticed[n % SEEN] + grace > until) until = l->noticed[n % SEEN] + grace;
	}
	return until;
}

static void send_close_ack(session *s) {
	s->ack_sent = true;
	session_write(s, &(frame){.type = F_CLOSE_ACK, .v = {{.n = s->sent}, {.n = s->end}, {.n = s->received}, {.n = s->late},
		{.n = s->dropped}, {.n = s->signals_received}, {.n = s->signals_taken}}}, !s->close_sent);
}

static uint64_t session_step(session *s, uint64_t now) {
	uint64_t wake = UINT64_MAX;
	if (session_over(s)) return wake;
	bool owes_ack = s->close_read && !s->ack_sent && !s->hold_ack;
	bool owes_done = s->ack_read && !s->close_read && !s->done_sent && !s->bare_sent;
	if (!s->aborted && !rejected(s) && (owes_ack || owes_done)) {
		if (s->peer_sent && !s->opener && !s->accept_sent) deliver_early(s, false);
		bool never_open = !s->opener && !s->accept_sent;
		uint64_t until = s->frozen || never_open ? 0 : stragglers_until(s);
		if (until > now) wake = until;
		else {
			s->frozen = true;
			if (owes_ack) send_close_ack(s);
			else {
				s->done_sent = true;
				session_write(s, &(frame){.type = F_DONE, .v = {{.n = s->received}, {.n = s->late}, {.n = s->dropped}}}, true);
			}
		}
	}
	bool crossed = s->close_sent && s->close_read && s->ack_sent && (s->ack_read || s->fin_read);
	if (crossed && !s->fin_sent) session_write(s, NULL, true);
	for (int i = 0; i < ASSEMBLIES; i++)
		if (s->parts[i].used && now >= s->parts[i].since + SECOND) drop_part(s, &s->parts[i]);
	if (s->deadline && now >= s->deadline) {
		s->deadline = 0;
		session_abort(s, s->deadline_code);
	}
	return s->deadline && s->deadline < wake ? s->deadline : wake;
}

uint64_t link_step(peer_link *l) {
	uint64_t now = stack_now();
	if (!l->ready || l->closed) return UINT64_MAX;
	if (now >= l->next_heartbeat) link_heartbeat(l);
	expire_early(l, now);
	uint64_t wake = l->next_heartbeat;
	for (session *s = l->sessions; s; s = s->next) {
		uint64_t w = session_step(s, now);
		if (w < wake) wake = w;
	}
	return wake;
}

static void add_setting(buf *b, uint64_t id, span value) {
	buf_int(b, id);
	buf_int(b, value.len);
	buf_add(b, value.p, value.len);
}

void link_ready(peer_link *l) {
	uint8_t instance[16];
	buf out = {0}, value = {0};
	l->ready = true;
	l->out = stack_open(l->conn, false);
	stack_random(instance, sizeof instance);
	add_setting(&value, 1, (span){instance, sizeof instance});
	if (l->odd_settings) {
		add_setting(&value, 0x17, span_of("reserved"));
		add_setting(&value, 0xf001, span_of("unknown"));
	}
	buf_int(&out, 0); // the type of the stream
	buf_int(&out, F_SETTINGS);
	buf_int(&out, value.len);
	buf_add(&out, value.p, value.len);
	stack_write(l->conn, l->out, out.p, out.len, false);
	buf_free(&out);
	buf_free(&value);
	link_heartbeat(l);
}

void link_free(peer_link *l) {
	for (session *s = l->sessions, *next; s; s = next) {
		next = s->next;
		buf *bufs[] = {&s->in.in, &s->protocol, &s->metadata, &s->accept_metadata, &s->reason, &s->peer_reason};
		for (size_t i = 0; i < sizeof bufs / sizeof bufs[0]; i++) buf_free(bufs[i]);
		for (int i = 0; i < ASSEMBLIES; i++) give_up(&s->parts[i]);
		list_free(&s->messages);
		list_free(&s->signals);
		free(s);
	}
	for (uni *u = l->unis, *next; u; u = next) {
		next = u->next;
		buf_free(&u->head);
		buf_free(&u->in.in);
		free(u);
	}
	for (size_t i = 0; i < l->early_n; i++) buf_free(&l->early[i].payload);
	buf_free(&l->instance);
	buf_free(&l->goaway_reason);
}
