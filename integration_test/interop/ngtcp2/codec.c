#include "codec.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_CONTENT = 16384, MAX_REASON = 1024, MAX_UNKNOWN = 65536, MAX_TIME = 0x7fffffff, HEARTBEAT_SIZE = 20 };

void buf_add(buf *b, const void *p, size_t len) {
	if (b->len + len > b->cap) {
		size_t cap = b->cap * 2 > b->len + len ? b->cap * 2 : b->len + len + 64;
		uint8_t *n = realloc(b->p, cap);
		if (!n) abort();
		b->p = n;
		b->cap = cap;
	}
	if (len) memcpy(b->p + b->len, p, len);
	b->len += len;
}

void buf_int(buf *b, uint64_t n) {
	int log = n < 64 ? 0 : n < 16384 ? 1 : n < (1 << 30) ? 2 : 3;
	uint8_t out[8];
	for (int i = (1 << log) - 1; i >= 0; i--, n >>= 8) out[i] = (uint8_t)n;
	out[0] |= (uint8_t)(log << 6);
	buf_add(b, out, (size_t)1 << log);
}

void buf_drop(buf *b, size_t n) {
	if (!n) return;
	memmove(b->p, b->p + n, b->len - n);
	b->len -= n;
}

void buf_free(buf *b) {
	free(b->p);
	*b = (buf){0};
}

span span_of(const char *text) { return (span){(const uint8_t *)text, strlen(text)}; }
bool span_eq(span a, span b) { return a.len == b.len && (a.len == 0 || memcmp(a.p, b.p, a.len) == 0); }

bool take_int(span *in, uint64_t *n) {
	if (in->len == 0) return false;
	size_t size = (size_t)1 << (in->p[0] >> 6);
	if (in->len < size) return false;
	*n = in->p[0] & 0x3f;
	for (size_t i = 1; i < size; i++) *n = *n << 8 | in->p[i];
	in->p += size;
	in->len -= size;
	return true;
}

bool take_bytes(span *in, uint64_t len, span *out) {
	if (len > in->len) return false;
	*out = (span){in->p, (size_t)len};
	in->p += len;
	in->len -= (size_t)len;
	return true;
}

static bool utf8(span s) {
	for (size_t i = 0; i < s.len;) {
		uint8_t c = s.p[i++];
		if (c < 0x80) continue;
		int more = c >= 0xc2 && c < 0xe0 ? 1 : c >= 0xe0 && c < 0xf0 ? 2 : c >= 0xf0 && c < 0xf5 ? 3 : 0;
		if (!more || s.len - i < (size_t)more) return false;
		uint8_t low = c == 0xe0 ? 0xa0 : c == 0xf0 ? 0x90 : 0x80, high = c == 0xed ? 0x9f : c == 0xf4 ? 0x8f : 0xbf;
		for (; more; more--, low = 0x80, high = 0xbf, i++)
			if (s.p[i] < low || s.p[i] > high) return false;
	}
	return true;
}

static const frame_info infos[] = {
	{F_SETTINGS, "SETTINGS", "Innnn", {"instance-id", "max-message", "max-signal", "max-signals", "window"}},
	{F_GOAWAY, "GOAWAY", "irti", {"code", "reason", "deadline-ms", "first-refused"}},
	{F_PING, "PING", "8", {"token"}},
	{F_PONG, "PONG", "8", {"token"}},
	{F_OPEN, "OPEN", "sb", {"protocol", "metadata"}},
	{F_ACCEPT, "ACCEPT", "b", {"metadata"}},
	{F_REJECT, "REJECT", "irt", {"code", "reason", "retry-after-ms"}},
	{F_SIGNAL, "SIGNAL", "b", {"payload"}},
	{F_SIGNAL_ACK, "SIGNAL_ACK", "i", {"taken"}},
	{F_REPORT, "REPORT", "iii", {"received", "late", "dropped"}},
	{F_CLOSE, "CLOSE", "iriiii", {"code", "reason", "sent", "end", "signals-received", "signals-taken"}},
	{F_CLOSE_ACK, "CLOSE_ACK", "iiiiiii",
	 {"sent", "end", "received", "late", "dropped", "signals-received", "signals-taken"}},
	{F_DONE, "DONE", "iii", {"received", "late", "dropped"}},
};
#define INFOS (sizeof infos / sizeof infos[0])

const frame_info *frame_find(uint64_t type) {
	for (size_t i = 0; i < INFOS; i++)
		if (infos[i].type == type) return &infos[i];
	return NULL;
}

const frame_info *frame_named(const char *name) {
	for (size_t i = 0; i < INFOS; i++)
		if (strcmp(infos[i].name, name) == 0) return &infos[i];
	return NULL;
}

static uint64_t frame_limit(uint64_t type) {
	switch (type) {
	case F_OPEN: case F_ACCEPT: case F_SIGNAL: return MAX_CONTENT + 1024;
	case F_GOAWAY: case F_REJECT: case F_CLOSE: return MAX_REASON + 1024;
	default: return frame_find(type) ? 1024 : MAX_UNKNOWN;
	}
}

static void add_bytes(buf *b, span s) {
	buf_int(b, s.len);
	buf_add(b, s.p, s.len);
}

void frame_encode(buf *out, const frame *f) {
	buf v = {0};
	const char *format = frame_find(f->type)->format;
	for (size_t i = 0; format[i]; i++) {
		const field *x = &f->v[i];
		switch (format[i]) {
		case 'i': case 't': buf_int(&v, x->n); break;
		case '8': buf_add(&v, x->s.p, 8); break;
		case 'I': case 'n':
			if (!x->set) break;
			buf_int(&v, i + 1); // setting ids count from 1
			buf n = {0};
			if (format[i] == 'I') buf_add(&n, x->s.p, x->s.len); else buf_int(&n, x->n);
			add_bytes(&v, (span){n.p, n.len});
			buf_free(&n);
			break;
		default: add_bytes(&v, x->s);
		}
	}
	buf_int(out, f->type);
	add_bytes(out, (span){v.p, v.len});
	buf_free(&v);
}

static bool decode_settings(span in, frame *f) {
	while (in.len) {
		uint64_t id, len;
		span value;
		if (!take_int(&in, &id) || !take_int(&in, &len) || !take_bytes(&in, len, &value)) return false;
		if (id < 1 || id > 5) continue;
		field *x = &f->v[id - 1];
		if (x->set) return false;
		x->set = true;
		if (id == 1 ? !take_bytes(&value, 16, &x->s) : !take_int(&value, &x->n)) return false;
	}
	return true;
}

static bool decode_value(span in, frame *f) {
	if (f->type == F_SETTINGS) return decode_settings(in, f);
	const char *format = frame_find(f->type)->format;
	for (size_t i = 0; format[i]; i++) {
		field *x = &f->v[i];
		switch (format[i]) {
		case 'i': case 't':
			if (!take_int(&in, &x->n)) return false;
			if (format[i] == 't' && x->n > MAX_TIME) x->n = MAX_TIME;
			break;
		case '8':
			if (!take_bytes(&in, 8, &x->s)) return false;
			break;
		default:
			if (!take_int(&in, &x->n) || !take_bytes(&in, x->n, &x->s)) return false;
			if (format[i] != 'b' && !utf8(x->s)) return false;
			if (x->s.len > (format[i] == 'r' ? MAX_REASON : MAX_CONTENT)) return false;
		}
	}
	const field *v = f->v;
	switch (f->type) {
	case F_OPEN: return v[OPEN_PROTOCOL].s.len + v[OPEN_METADATA].s.len <= MAX_CONTENT;
	case F_REPORT: return v[REPORT_DROPPED].n <= v[REPORT_RECEIVED].n;
	case F_CLOSE: return (!v[CLOSE_SENT].n || v[CLOSE_END].n) && v[CLOSE_SIG_TAKEN].n <= v[CLOSE_SIG_RECEIVED].n;
	case F_CLOSE_ACK:
		return (!v[ACK_SENT].n || v[ACK_END].n) && v[ACK_DROPPED].n <= v[ACK_RECEIVED].n &&
		       v[ACK_SIG_TAKEN].n <= v[ACK_SIG_RECEIVED].n;
	case F_DONE: return v[DONE_DROPPED].n <= v[DONE_RECEIVED].n;
	default: return true;
	}
}

void parser_feed(parser *p, const uint8_t *data, size_t len) {
	buf_drop(&p->in, p->used);
	p->used = 0;
	size_t skip = p->skip < len ? (size_t)p->skip : len; // what is only skipped is never kept
	p->skip -= skip;
	buf_add(&p->in, data + skip, len - skip);
}

parse_result parser_next(parser *p, frame *f) {
	for (;;) {
		span in = {p->in.p + p->used, p->in.len - p->used};
		*f = (frame){0};
		uint64_t len;
		span value;
		if (p->in.len == p->used || !take_int(&in, &f->type)) return PARSE_MORE;
		bool known = frame_find(f->type);
		if (!known && !p->begun) return PARSE_UNKNOWN_FIRST;
		if (!take_int(&in, &len)) return PARSE_MORE;
		if (len > frame_limit(f->type)) return PARSE_LIMIT;
		if (!known) {
			size_t here = len < in.len ? (size_t)len : in.len;
			p->skip = len - here;
			p->used = (size_t)(in.p + here - p->in.p);
			continue;
		}
		if (!take_bytes(&in, len, &value)) return PARSE_MORE;
		p->used = (size_t)(in.p - p->in.p);
		p->begun = true;
		return decode_value(value, f) ? PARSE_FRAME : PARSE_MALFORMED;
	}
}

bool parser_between_frames(const parser *p) { return p->in.len == p->used && p->skip == 0; }

bool bundle_next(span *items, uint64_t *session, span *payload) {
	uint64_t len;
	return take_int(items, session) && take_int(items, &len) && take_bytes(items, len, payload);
}

void bundle_add(buf *items, uint64_t session, span payload) {
	buf_int(items, session);
	add_bytes(items, payload);
}

static dgram_result check_bundle(span in, dgram *d) {
	if (!in.len) return DGRAM_INVALID;
	while (in.len) {
		uint64_t len;
		span payload;
		d->has_session = take_int(&in, &d->session);
		if (!d->has_session || !take_int(&in, &len) || !take_bytes(&in, len, &payload)) return DGRAM_INVALID;
	}
	return DGRAM_OK;
}

dgram_result dgram_decode(span in, dgram *d) {
	*d = (dgram){0};
	if (!take_int(&in, &d->kind) || !take_int(&in, &d->number) || d->number == INT_MAX62) return DGRAM_INVALID;
	switch (d->kind) {
	case D_MESSAGE:
		d->has_session = take_int(&in, &d->session);
		d->payload = in;
		return d->has_session ? DGRAM_OK : DGRAM_INVALID;
	case D_BUNDLE:
		d->payload = in;
		return check_bundle(in, d);
	case D_FRAGMENT:
		d->has_session = take_int(&in, &d->session);
		if (!d->has_session || !take_int(&in, &d->message) || !take_int(&in, &d->total) || !take_int(&in, &d->offset))
			return DGRAM_INVALID;
		d->payload = in;
		return in.len && d->message != INT_MAX62 && d->offset <= d->total && in.len <= d->total - d->offset
			? DGRAM_OK : DGRAM_INVALID;
	case D_HEARTBEAT: case D_ECHO: return take_bytes(&in, 8, &d->payload) ? DGRAM_OK : DGRAM_INVALID;
	case D_CREDIT:
		return take_int(&in, &d->end) && take_int(&in, &d->taken) && d->taken <= d->end ? DGRAM_OK : DGRAM_INVALID;
	default: return DGRAM_UNKNOWN;
	}
}

void dgram_encode(buf *out, const dgram *d) {
	static const uint8_t zeros[HEARTBEAT_SIZE];
	size_t start = out->len;
	buf_int(out, d->kind);
	buf_int(out, d->number);
	if (d->kind == D_MESSAGE || d->kind == D_FRAGMENT) buf_int(out, d->session);
	if (d->kind == D_FRAGMENT) {
		buf_int(out, d->message);
		buf_int(out, d->total);
		buf_int(out, d->offset);
	}
	if (d->kind == D_CREDIT) {
		buf_int(out, d->end);
		buf_int(out, d->taken);
	}
	buf_add(out, d->payload.p, d->payload.len);
	bool padded = d->kind == D_HEARTBEAT || d->kind == D_ECHO;
	if (padded && out->len - start < HEARTBEAT_SIZE) buf_add(out, zeros, HEARTBEAT_SIZE - (out->len - start));
}
