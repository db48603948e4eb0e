#include "cases.h"

#include <arpa/inet.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "quic.h"

static struct {
	const char *name;
	bool dial;
	endpoint *e;
	struct sockaddr_in address;
	options o;
	peer_link *l; // the first link
	uint64_t deadline;
} here;

static void json_string(const uint8_t *p, size_t n) {
	putchar('"');
	for (size_t i = 0; i < n; i++) {
		if (p[i] < 0x20) printf("\\u%04x", p[i]);
		else if (p[i] == '"' || p[i] == '\\') printf("\\%c", p[i]);
		else putchar(p[i]);
	}
	putchar('"');
}

static _Noreturn void fail(const char *format, ...) {
	char why[400];
	va_list args;
	va_start(args, format);
	vsnprintf(why, sizeof why, format, args);
	va_end(args);
	printf("{\"case\":\"%s\",\"ok\":false,\"why\":", here.name);
	json_string((const uint8_t *)why, strlen(why));
	puts("}");
	if (here.e) endpoint_free(here.e);
	exit(1);
}

static void need(bool ok, const char *what) {
	if (!ok) fail("expected %s", what);
}

static void turn(const char *what) {
	uint64_t now = stack_now();
	if (now >= here.deadline) fail("waited too long for %s", what);
	uint64_t soon = now + 100 * MS;
	endpoint_turn(here.e, soon < here.deadline ? soon : here.deadline);
}

static void turn_alive(const char *what) {
	turn(what);
	const peer_link *l = here.l;
	if (l && l->closed)
		fail("the link ended, by %s with the %s code 0x%llx, instead of %s", l->closed_here ? "this side" : "the peer",
			l->closed_by_app ? "application" : "transport", (unsigned long long)l->close_code, what);
}

#define UNTIL(what, condition) do { while (!(condition)) turn_alive(what); } while (0)
#define UNTIL_CLOSED(l, what) do { while (!(l)->closed) turn(what); } while (0)

static void pause_ms(uint64_t ms) {
	for (uint64_t until = stack_now() + ms * MS; stack_now() < until;) endpoint_turn(here.e, until);
}

static span text(const buf *b) { return (span){b->p, b->len}; }
static bool is(const buf *b, const char *want) { return span_eq(text(b), span_of(want)); }

// ---- links

static void begin(bool ready) {
	here.o.accepting = !here.dial || strcmp(here.name, "one-port") == 0;
	struct sockaddr_in local = here.address;
	if (here.dial) local.sin_port = 0;
	here.e = endpoint_new(&local, &here.o);
	if (!here.e) fail("cannot bind the address, or read the certificate and key");
	if (here.dial) {
		here.l = endpoint_dial(here.e, &here.address);
		if (!here.l) fail("cannot dial");
	} else {
		char ip[INET_ADDRSTRLEN];
		printf("listening %s:%d\n", inet_ntop(AF_INET, &local.sin_addr, ip, sizeof ip), endpoint_port(here.e));
		fflush(stdout);
		while (!(here.l = endpoint_link(here.e, 0))) turn("a connection");
	}
	if (ready) UNTIL("the handshake", here.l->ready);
}

// The nth session of a protocol that the peer opened, in the order of its ids.
static session *served(peer_link *l, const char *protocol, size_t n) {
	for (uint64_t id = l->client ? 1 : 0;; id += 2) {
		session *s = l->sessions;
		while (s && s->id != id) s = s->next;
		if (!s) return NULL;
		if (is(&s->protocol, protocol) && n-- == 0) return s;
	}
}

static session *await_served(const char *protocol, size_t n) {
	session *s;
	UNTIL("a session of the peer's to be over", (s = served(here.l, protocol, n)) && session_over(s));
	return s;
}

static void expect_end(session *s, const char *end, uint64_t code, const char *reason) {
	UNTIL("both ends of the session's stream", session_over(s));
	const char *got = session_end(s);
	bool peers = strcmp(end, "peer-closed") == 0;
	uint64_t got_code = s->aborted ? s->abort_code : peers ? s->peer_code : s->code;
	const buf *got_reason = peers ? &s->peer_reason : &s->reason;
	if (strcmp(got, end) != 0 || got_code != code) fail("session %llu: expected %s 0x%llx, got %s 0x%llx",
		(unsigned long long)s->id, end, (unsigned long long)code, got, (unsigned long long)got_code);
	if (!s->aborted && !is(got_reason, reason)) fail("session %llu: expected the reason %s", (unsigned long long)s->id, reason);
}

static void expect_counts(const session *s, uint64_t sent, uint64_t received) {
	need(s->sent == sent && s->received == received, "other counts of messages here");
	need(s->knows_peer_sent && s->peer_sent == received, "the peer to have sent what was received");
	need(s->knows_peer_received && s->peer_received == sent, "the peer to have received what was sent");
}

static void end_links(size_t n) {
	for (size_t i = 0; i < n; i++) UNTIL("all sessions to be over", link_quiet(endpoint_link(here.e, i)));
	for (size_t i = 0; i < n; i++) link_goaway(endpoint_link(here.e, i));
	for (size_t i = 0; i < n; i++) {
		peer_link *l = endpoint_link(here.e, i);
		UNTIL_CLOSED(l, "CONNECTION_CLOSE after GOAWAY");
		if (l->closed_here || !l->closed_by_app || l->close_code != CODE_NORMAL)
			fail("expected CONNECTION_CLOSE with 0x00 of the peer's, got the code 0x%llx", (unsigned long long)l->close_code);
	}
}

static void end(void) { end_links(1); }

// ---- parts of cases

static session *open_accepted(peer_link *l, const char *protocol) {
	session *s = session_open(l, protocol, span_of("v=1"));
	need(s, "a stream for a session");
	UNTIL("ACCEPT", s->accept_read);
	if (strcmp(protocol, "echo") == 0) need(is(&s->accept_metadata, "v=1"), "ACCEPT with the metadata v=1");
	return s;
}

static void expect_message(session *s, size_t at, const char *want) {
	UNTIL("a message", s->messages.n > at);
	need(span_eq(list_at(&s->messages, at), span_of(want)), "the message to come back as it was");
}

static void say(session *s, const char *message) {
	size_t at = s->messages.n;
	session_message(s, span_of(message));
	expect_message(s, at, message);
}

static void bye(session *s) {
	session_close(s, CODE_NORMAL, "bye");
	expect_end(s, "closed", CODE_NORMAL, "bye");
}

static void open_and_close(peer_link *l) {
	session *s = open_accepted(l, "echo");
	say(s, "hello");
	bye(s);
	expect_counts(s, 1, 1);
}

static void write_raw(session *s, span bytes) { stack_write(s->link->conn, s->stream, bytes.p, bytes.len, false); }

// ---- cases

static void handshake(void) {
	peer_link *l = here.l;
	UNTIL("SETTINGS", l->settings_read);
	need(l->instance.len == 16, "an instance id");
	link_ping(l);
	UNTIL("PONG", l->pongs);
	UNTIL("the echo of a heartbeat", l->echoes);
	expect_end(await_served("echo", 0), "peer-closed", CODE_NORMAL, "");
	end();
}

static bool refusal(const peer_link *l) {
	return l->closed_by_app ? l->close_code == CODE_REFUSED : l->close_code >= 0x100 && l->close_code < 0x200;
}

static void wrong_id(void) {
	UNTIL_CLOSED(here.l, "the handshake to fail");
	need(here.l->closed_here && refusal(here.l) && !here.l->ready, "this side to refuse the handshake");
}

static void refused(void) {
	UNTIL_CLOSED(here.l, "the peer's refusal");
	need(!here.l->closed_here && refusal(here.l), "the peer to refuse");
	need(!here.l->settings_read && !here.l->sessions, "nothing of the peer's before it refused");
}

static void open_case(void) {
	open_and_close(here.l);
	end();
}

static void open_rejected(void) {
	session *s = session_open(here.l, "reject", span_of(""));
	expect_end(s, "rejected", 0x1f4, "not today");
	need(s->retry_after == 1500, "retry-after 1,500");
	end();
}

static void accept_case(void) {
	session *s = await_served("echo", 0);
	expect_end(s, "peer-closed", 0x100, "fine");
	expect_counts(s, 1, 1);
	end();
}

static void reject(void) {
	expect_end(await_served("reject", 0), "rejected", 0x1f4, "not today");
	end();
}

static void fill(uint8_t *p, size_t n) {
	for (size_t i = 0; i < n; i++) p[i] = (uint8_t)(i * 7 + i / 256 + n);
}

static bool came_back(const session *s, span want) {
	for (size_t i = 0; i < s->messages.n; i++)
		if (span_eq(list_at(&s->messages, i), want)) return true;
	return false;
}

static void messages(void) {
	static uint8_t one[1], most[1100], large[5000], largest[MAX_MESSAGE];
	fill(one, sizeof one);
	fill(most, sizeof most);
	fill(large, sizeof large);
	fill(largest, sizeof largest);
	const span small[] = {{one, 0}, {one, 1}, {most, sizeof most}}, bundle[] = {span_of("a"), {one, 0}, span_of("ccc")},
		padded = span_of("padded"), big[] = {{large, sizeof large}, {largest, sizeof largest}};
	session *s = open_accepted(here.l, "echo");
	for (int i = 0; i < 3; i++) session_message(s, small[i]);
	session_bundle(s, bundle, 3, 0);
	session_bundle(s, &padded, 1, 20);
	session_fragments(s, big[0], 1000, true);
	UNTIL("the message of 5,000 bytes", came_back(s, big[0]));
	session_fragments(s, big[1], 1000, false);
	UNTIL("the message of 65,536 bytes", came_back(s, big[1]));
	UNTIL("nine messages", s->messages.n >= 9);
	size_t empty = 0;
	for (size_t i = 0; i < s->messages.n; i++) empty += s->messages.v[i].len == 0;
	need(empty == 2, "two empty messages");
	for (int i = 1; i < 3; i++) need(came_back(s, small[i]), "the small messages");
	need(came_back(s, bundle[0]) && came_back(s, bundle[2]) && came_back(s, padded), "the messages of the bundles");
	bye(s);
	expect_counts(s, 9, 9);
	end();
}

static void messages_back(void) {
	session *s = await_served("echo", 0);
	need(strcmp(session_end(s), "peer-closed") == 0, "the peer to close");
	expect_counts(s, 25, 25);
	end();
}

static void early(void) {
	uint64_t id = session_next_id(here.l);
	// Counted by the session once it is there: these went out under its id.
	link_dgram(here.l, D_MESSAGE, id, span_of("one"));
	link_dgram(here.l, D_MESSAGE, id, span_of("two"));
	uint64_t number = here.l->number;
	pause_ms(50);
	session *s = session_open(here.l, "echo", span_of(""));
	need(s && s->id == id, "the next session to have the next id");
	s->sent = 2;
	s->end = number;
	expect_message(s, 0, "one");
	expect_message(s, 1, "two");
	bye(s);
	expect_counts(s, 2, 2);
	link_dgram(here.l, D_MESSAGE, id, span_of("late"));
	s = session_open(here.l, "echo", span_of(""));
	need(s, "a stream");
	say(s, "on");
	bye(s);
	expect_counts(s, 1, 1);
	end();
}

static void signals(void) {
	session *s = open_accepted(here.l, "echo");
	char n[8];
	for (int sent = 0; s->signals_received < 40 || s->signals_acked < 40;) {
		while (sent < 40 && snprintf(n, sizeof n, "%d", sent) > 0 && session_signal(s, span_of(n))) sent++;
		turn_alive("40 signals and their acknowledgements");
		session_take_signals(s, s->signals_received);
	}
	for (int i = 0; i < 40; i++) {
		snprintf(n, sizeof n, "%d", i);
		need(span_eq(list_at(&s->signals, (size_t)i), span_of(n)), "the signals in order");
	}
	bye(s);
	need(s->signals_received == 40, "40 signals and no more");
	end();
}

static void signals_back(void) {
	session *s = await_served("echo", 0);
	need(strcmp(session_end(s), "peer-closed") == 0, "the peer to close");
	need(s->signals_received == 40 && s->signals_taken == 40 && s->signals_acked == 40, "40 signals each way");
	end();
}

static void close_by_peer(void) {
	session *s = session_open(here.l, "close", span_of(""));
	expect_end(s, "peer-closed", 0x155, "enough");
	need(s->accept_read && s->done_read && s->fin_read, "ACCEPT, DONE and FIN");
	end();
}

static void close_here(void) {
	expect_end(await_served("close", 0), "closed", 0x155, "enough");
	end();
}

static void crossed(void) {
	session *s = session_open(here.l, "close", span_of(""));
	s->cross.set = true;
	s->cross.code = 0x200;
	s->cross.reason = "me too";
	expect_end(s, "crossed", 0x200, "me too");
	need(s->peer_code == 0x155 && is(&s->peer_reason, "enough") && !s->done_read, "the peer's own cause, and no DONE");
	end();
}

static void close_opening(void) {
	frame f = {.type = F_CLOSE, .v = {[CLOSE_REASON] = {.s = span_of("never mind")}}};
	buf close = {0};
	frame_encode(&close, &f);
	session *s = session_open_odd(here.l, "hold", span_of(""), text(&close));
	buf_free(&close);
	s->close_sent = true;
	buf_add(&s->reason, "never mind", 10);
	expect_end(s, "closed", CODE_NORMAL, "never mind");
	need(s->acceptor_closed || s->accept_read, "CLOSE_ACK first, or behind ACCEPT");
	end();
}

static void close_crosses_accept(void) {
	session *s = await_served("hold-accept", 0);
	need(strcmp(session_end(s), "peer-closed") == 0 && s->done_read, "the peer's close, and its DONE");
	end();
}

static void close_crosses_reject(void) {
	expect_end(await_served("hold-reject", 0), "rejected", 0x1f4, "not today");
	end();
}

static void bare_fin(void) {
	session *s = open_accepted(here.l, "echo");
	say(s, "hello");
	session_bare_fin(s);
	expect_end(s, "closed", CODE_NORMAL, "");
	need(s->fin_read && s->peer_sent == 1 && s->peer_received == 1, "CLOSE_ACK with one message each way, and FIN");
	end();
}

static void abort_case(void) {
	session *s = open_accepted(here.l, "echo");
	session_abort(s, 0x199);
	UNTIL("the peer's answer to the abort", s->reset_read);
	need(s->reset_code == 0x199, "the answer with the code of the abort");
	expect_end(s, "aborted", 0x199, "");
	end();
}

static void aborted(void) {
	session *s = session_open(here.l, "abort", span_of(""));
	expect_end(s, "aborted", 0x177, "");
	end();
}

static void shut_down(bool second) {
	peer_link *l = here.l;
	session *s = session_open(l, "shutdown", span_of("")), *late = NULL;
	UNTIL("ACCEPT", s->accept_read);
	s->hold_ack = second;
	session_message(s, span_of("go"));
	UNTIL("GOAWAY", l->goaway_read);
	need(l->goaway_code == 0x100 && is(&l->goaway_reason, "maintenance"), "GOAWAY with 0x100, maintenance");
	if (second) {
		late = session_open(l, "echo", span_of(""));
		s->hold_ack = false;
	}
	expect_end(s, "peer-closed", 0x100, "maintenance");
	if (late) {
		UNTIL("the rejection of the second session", session_over(late));
		need(late->reject_read && late->code == CODE_GOING_AWAY, "a rejection with code 5");
	}
	UNTIL("all sessions to be over", link_quiet(l));
	// What this side sent last was FIN, and the peer's DONE and FIN are read: nothing is left to be discarded.
	stack_close(l->conn, CODE_NORMAL, "");
	UNTIL_CLOSED(l, "the own close");
	need(l->closed_here && l->close_code == CODE_NORMAL, "this side to end the link");
}

static void shutdown_case(void) { shut_down(false); }
static void goaway(void) { shut_down(true); }

static void add_frame(buf *b, uint64_t type, const char *value) {
	buf_int(b, type);
	buf_int(b, strlen(value));
	buf_add(b, value, strlen(value));
}

static void unknown(void) {
	peer_link *l = here.l;
	buf b = {0};
	add_frame(&b, 0x17, "");
	add_frame(&b, 0xf123, "experiment");
	stack_write(l->conn, l->out, b.p, b.len, false);
	buf_drop(&b, b.len);
	int64_t odd = stack_open(l->conn, false);
	need(odd >= 0, "a unidirectional stream");
	buf_int(&b, 0x40);
	buf_add(&b, "later", 5);
	stack_write(l->conn, odd, b.p, b.len, false);
	buf_drop(&b, b.len);
	link_dgram(l, 0x17, 0, span_of("later"));
	add_frame(&b, 0x40, "later");
	session *s = session_open_odd(l, "echo", span_of("v=1"), text(&b));
	UNTIL("ACCEPT", s->accept_read);
	need(is(&s->accept_metadata, "v=1"), "ACCEPT with the metadata v=1");
	say(s, "hello");
	buf_drop(&b, b.len);
	add_frame(&b, 0xa03f, "later");
	write_raw(s, text(&b));
	session_signal(s, span_of("hi"));
	UNTIL("the signal", s->signals.n && s->signals_acked == 1);
	need(span_eq(list_at(&s->signals, 0), span_of("hi")), "the signal hi");
	session_take_signals(s, 1);
	UNTIL("STOP_SENDING", l->stopped_stream == odd);
	need(l->stopped_code == CODE_UNSUPPORTED, "STOP_SENDING with 0x07");
	// CLOSE with four bytes behind its last field.
	frame f;
	buf close = {0};
	s->close_sent = true;
	buf_add(&s->reason, "bye", 3);
	session_close_frame(s, &f);
	frame_encode(&close, &f);
	close.p[1] = (uint8_t)(close.p[1] + 4); // type and length have a byte each
	buf_add(&close, "more", 4);
	write_raw(s, text(&close));
	buf_free(&close);
	buf_free(&b);
	expect_end(s, "closed", CODE_NORMAL, "bye");
	expect_counts(s, 1, 1);
	end();
}

static void malformed(bool dgram) {
	session *a = open_accepted(here.l, "echo"), *b = open_accepted(here.l, "echo");
	buf bad = {0};
	if (dgram) {
		buf_int(&bad, D_FRAGMENT);
		buf_int(&bad, here.l->number++);
		buf_int(&bad, a->id);
		buf_int(&bad, 0);
		buf_int(&bad, 9);
		buf_int(&bad, 0);
		stack_datagram(here.l->conn, bad.p, bad.len);
	} else {
		buf_int(&bad, F_SIGNAL);
		buf_int(&bad, 100000);
		write_raw(a, text(&bad));
	}
	buf_free(&bad);
	expect_end(a, "aborted", CODE_VIOLATION, "");
	say(b, "hello");
	bye(b);
	expect_counts(b, 1, 1);
	end();
}

static void malformed_frame(void) { malformed(false); }
static void malformed_datagram(void) { malformed(true); }

static void expect_close(uint64_t code) {
	UNTIL_CLOSED(here.l, "CONNECTION_CLOSE");
	if (here.l->closed_here || !here.l->closed_by_app || here.l->close_code != code)
		fail("expected CONNECTION_CLOSE with 0x%llx, got 0x%llx", (unsigned long long)code, (unsigned long long)here.l->close_code);
}

static void malformed_link(void) {
	open_accepted(here.l, "echo");
	link_frame(here.l, &(frame){.type = F_SETTINGS});
	expect_close(CODE_VIOLATION);
}

static void many(void) {
	session *own[20];
	for (int i = 0; i < 20; i++) {
		own[i] = session_open(here.l, "echo", span_of(""));
		need(own[i], "20 streams");
		session_message(own[i], span_of("hello"));
	}
	for (int i = 0; i < 20; i++) {
		expect_message(own[i], 0, "hello");
		session_close(own[i], CODE_NORMAL, "bye");
	}
	for (int i = 0; i < 20; i++) {
		expect_end(own[i], "closed", CODE_NORMAL, "bye");
		expect_counts(own[i], 1, 1);
	}
	for (size_t i = 0; i < 20; i++) {
		session *s = await_served("echo", i);
		need(strcmp(session_end(s), "peer-closed") == 0, "the peer to close");
		expect_counts(s, 1, 1);
	}
	end();
}

static void anonymous_refused(void) {
	UNTIL_CLOSED(here.l, "a TLS alert");
	need(!here.l->closed_here && !here.l->closed_by_app && refusal(here.l), "a TLS alert of the peer's");
}

static void no_datagrams(void) { expect_close(CODE_UNSUPPORTED); }

static void one_port(void) {
	open_and_close(here.l);
	expect_end(await_served("echo", 0), "peer-closed", 0x100, "fine");
	struct sockaddr_in remote = endpoint_remote(here.l);
	if (!here.dial) need(endpoint_dial(here.e, &remote), "to dial back");
	peer_link *second;
	UNTIL("the second link", (second = endpoint_link(here.e, 1)) && second->ready);
	struct sockaddr_in other = endpoint_remote(second);
	need(other.sin_port == remote.sin_port, "the second link between the same ports");
	open_and_close(second);
	end_links(2);
}

// ---- all together

static const struct { const char *name; void (*play)(void); bool dial_only, refused; } cases[] = {
	{"handshake", handshake, 0, 0}, {"wrong-id", wrong_id, 0, 1}, {"refused", refused, 0, 1}, {"open", open_case, 0, 0},
	{"open-rejected", open_rejected, 0, 0}, {"accept", accept_case, 0, 0}, {"reject", reject, 0, 0},
	{"messages", messages, 0, 0}, {"messages-back", messages_back, 0, 0}, {"early", early, 0, 0},
	{"signals", signals, 0, 0}, {"signals-back", signals_back, 0, 0}, {"close-by-peer", close_by_peer, 0, 0},
	{"close-here", close_here, 0, 0}, {"crossed", crossed, 0, 0}, {"close-opening", close_opening, 0, 0},
	{"close-crosses-accept", close_crosses_accept, 0, 0}, {"close-crosses-reject", close_crosses_reject, 0, 0},
	{"bare-fin", bare_fin, 0, 0}, {"abort", abort_case, 0, 0}, {"aborted", aborted, 0, 0},
	{"shutdown", shutdown_case, 0, 0}, {"goaway", goaway, 0, 0}, {"unknown", unknown, 0, 0},
	{"malformed-frame", malformed_frame, 0, 0}, {"malformed-datagram", malformed_datagram, 0, 0},
	{"malformed-link", malformed_link, 0, 0}, {"many", many, 0, 0}, {"anonymous", open_case, 1, 0},
	{"anonymous-refused", anonymous_refused, 1, 1}, {"no-datagrams", no_datagrams, 0, 1}, {"one-port", one_port, 0, 0},
};

static void print_sessions(void) {
	const char *comma = "";
	printf("{\"case\":\"%s\",\"ok\":true,\"sessions\":[", here.name);
	for (size_t i = 0; endpoint_link(here.e, i); i++)
		for (const session *s = endpoint_link(here.e, i)->sessions; s; s = s->next) {
			const char *how = session_end(s);
			bool peers = strcmp(how, "peer-closed") == 0, bare = strcmp(how, "aborted") == 0 || strcmp(how, "lost") == 0;
			printf("%s{\"id\":%llu,\"end\":\"%s\",\"code\":%llu,\"reason\":", comma, (unsigned long long)s->id, how,
				(unsigned long long)(s->aborted ? s->abort_code : peers ? s->peer_code : s->code));
			const buf *reason = peers ? &s->peer_reason : &s->reason;
			json_string(reason->p, bare ? 0 : reason->len);
			printf(",\"sent\":%llu,\"received\":%llu,\"peer_sent\":%lld,\"peer_received\":%lld}", (unsigned long long)s->sent,
				(unsigned long long)s->received, s->knows_peer_sent ? (long long)s->peer_sent : -1LL,
				s->knows_peer_received ? (long long)s->peer_received : -1LL);
			comma = ",";
		}
	puts("]}");
}

int case_run(const char *name, const char *address, int dial, const char *cert, const char *key, const char *peer_id) {
	char ip[INET_ADDRSTRLEN];
	const char *colon = strrchr(address, ':');
	size_t i = 0, n = sizeof cases / sizeof cases[0];
	while (i < n && strcmp(cases[i].name, name) != 0) i++;
	if (i == n || (cases[i].dial_only && !dial) || !colon || (size_t)(colon - address) >= sizeof ip) return 2;
	memcpy(ip, address, (size_t)(colon - address));
	ip[colon - address] = 0;
	here.address.sin_family = AF_INET;
	here.address.sin_port = htons((uint16_t)atoi(colon + 1));
	if (inet_pton(AF_INET, ip, &here.address.sin_addr) != 1) return 2;
	here.name = cases[i].name;
	here.dial = dial;
	here.o = (options){.cert = cert, .key = key, .peer_id = peer_id, .anonymous = cases[i].dial_only,
		.no_datagrams = strcmp(name, "no-datagrams") == 0, .odd_settings = strcmp(name, "unknown") == 0};
	here.deadline = stack_now() + 10 * SECOND - 200 * MS;
	begin(!cases[i].refused);
	cases[i].play();
	print_sessions();
	endpoint_free(here.e);
	return 0;
}
