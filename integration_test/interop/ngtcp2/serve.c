// The protocols that this program serves as acceptor.
#include "link.h"

static bool speaks(const session *s, const char *protocol) {
	return !s->opener && span_eq((span){s->protocol.p, s->protocol.len}, span_of(protocol));
}

static void reject_today(session *s) { session_reject(s, 0x1f4, "not today", 1500); }

void serve_open(session *s) {
	if (speaks(s, "echo")) session_accept(s);
	else if (speaks(s, "reject")) reject_today(s);
	else if (speaks(s, "close")) session_accept(s), session_close(s, 0x155, "enough");
	else if (speaks(s, "abort")) session_accept(s), session_abort(s, 0x177);
	else if (!speaks(s, "hold") && !speaks(s, "hold-accept") && !speaks(s, "hold-reject"))
		session_reject(s, CODE_REFUSED, "", 0);
}

void serve_message(session *s, span payload) {
	if (speaks(s, "echo") && !s->close_read) session_message(s, payload);
}

// A signal counts as taken when its echo has gone out, so that a peer without credit is not flooded.
void serve_signals(session *s) {
	if (!speaks(s, "echo") || s->close_read) return;
	uint64_t taken = s->signals_taken;
	while (taken < s->signals_received && session_signal(s, list_at(&s->signals, taken))) taken++;
	session_take_signals(s, taken);
}

void serve_close(session *s) {
	if (speaks(s, "hold-accept")) session_accept(s);
	else if (speaks(s, "hold-reject")) reject_today(s);
}
