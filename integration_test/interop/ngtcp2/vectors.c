#include "vectors.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "codec.h"

enum { MAX_KEYS = 64 };
typedef struct { char *key, *value; } entry;
typedef struct { entry e[MAX_KEYS]; int n; buf wire; } block;

static const char *get(const block *b, const char *key) {
	for (int i = 0; i < b->n; i++)
		if (strcmp(b->e[i].key, key) == 0) return b->e[i].value;
	return NULL;
}

static uint64_t number(const block *b, const char *key) {
	const char *v = get(b, key);
	return v ? strtoull(v, NULL, 10) : 0;
}

static void unhex(buf *out, const char *hex) {
	for (; hex[0] && hex[1] && hex[0] != '-'; hex += 2) {
		char two[3] = {hex[0], hex[1], 0};
		uint8_t byte = (uint8_t)strtoul(two, NULL, 16);
		buf_add(out, &byte, 1);
	}
}

static span wire(const block *b) { return (span){b->wire.p, b->wire.len}; }

static bool check_error(const block *b, const char *want) {
	parser p = {.begun = true};
	frame f;
	parser_feed(&p, b->wire.p, b->wire.len);
	parse_result r = parser_next(&p, &f);
	bool ok = strcmp(want, "limit") == 0 ? r == PARSE_LIMIT
		: strcmp(want, "malformed") == 0 ? r == PARSE_MALFORMED
		: strcmp(want, "truncated") == 0 && r == PARSE_MORE && !parser_between_frames(&p);
	buf_free(&p.in);
	return ok;
}

static bool check_frame(const block *b) {
	const frame_info *info = frame_named(get(b, "frame"));
	if (!info) return false;
	if (get(b, "error")) return check_error(b, get(b, "error"));
	frame want = {.type = info->type}, got;
	buf bytes[7] = {0}, a = {0}, c = {0};
	for (int i = 0; info->format[i]; i++) {
		const char *v = get(b, info->fields[i]);
		if (!v && info->type != F_SETTINGS) return false;
		if (!v) continue;
		want.v[i].set = true;
		if (strchr("itn", info->format[i])) want.v[i].n = strtoull(v, NULL, 10);
		else unhex(&bytes[i], v);
		want.v[i].s = (span){bytes[i].p, bytes[i].len};
	}
	parser p = {0};
	parser_feed(&p, b->wire.p, b->wire.len);
	bool ok = parser_next(&p, &got) == PARSE_FRAME && got.type == info->type && parser_between_frames(&p);
	if (ok) {
		frame_encode(&a, &want);
		frame_encode(&c, &got);
		ok = span_eq((span){a.p, a.len}, (span){c.p, c.len}) && (get(b, "only") || span_eq((span){a.p, a.len}, wire(b)));
	}
	for (int i = 0; i < 7; i++) buf_free(&bytes[i]);
	buf_free(&a);
	buf_free(&c);
	buf_free(&p.in);
	return ok;
}

static bool check_stream(const block *b) {
	parser p = {0};
	frame f;
	parse_result r;
	char names[256] = "";
	parser_feed(&p, b->wire.p, b->wire.len);
	while ((r = parser_next(&p, &f)) == PARSE_FRAME && strlen(names) < 200) {
		if (names[0]) strcat(names, " ");
		strcat(names, frame_find(f.type)->name);
	}
	const char *outcome = r != PARSE_MORE ? "violation" : parser_between_frames(&p) ? "end" : "truncated";
	buf_free(&p.in);
	return strcmp(outcome, get(b, "stream")) == 0 && get(b, "frames") &&
	       strcmp(names[0] ? names : "-", get(b, "frames")) == 0;
}

static bool check_invalid(const block *b, dgram_result r, const dgram *d) {
	const char *session = get(b, "session");
	if (r != DGRAM_INVALID || !session) return false;
	return strcmp(session, "-") == 0 ? !d->has_session : d->has_session && d->session == number(b, "session");
}

static bool check_dgram(const block *b) {
	static const struct { const char *name; uint64_t kind; } kinds[] = {
		{"message", D_MESSAGE}, {"bundle", D_BUNDLE}, {"fragment", D_FRAGMENT},
		{"heartbeat", D_HEARTBEAT}, {"heartbeat-echo", D_ECHO}, {"credit", D_CREDIT}};
	const char *kind = get(b, "kind");
	dgram got, want = {0};
	dgram_result r = dgram_decode(wire(b), &got);
	if (strcmp(kind, "invalid") == 0) return check_invalid(b, r, &got);
	if (strcmp(kind, "unknown") == 0) return r == DGRAM_UNKNOWN && got.number == number(b, "number");
	size_t k = 0;
	while (k < 6 && strcmp(kinds[k].name, kind) != 0) k++;
	if (k == 6 || r != DGRAM_OK) return false;
	buf payload = {0}, a = {0}, c = {0};
	for (int i = 0; i < b->n; i++) {
		const char *v = b->e[i].value;
		if (strcmp(b->e[i].key, "payload") == 0 || strcmp(b->e[i].key, "token") == 0) unhex(&payload, v);
		if (strcmp(b->e[i].key, "item") != 0) continue;
		buf item = {0};
		char *rest;
		uint64_t session = strtoull(v, &rest, 10);
		unhex(&item, rest + 1);
		bundle_add(&payload, session, (span){item.p, item.len});
		buf_free(&item);
	}
	want = (dgram){.kind = kinds[k].kind, .number = number(b, "number"), .session = number(b, "session"),
		.message = number(b, "message"), .total = number(b, "total"), .offset = number(b, "offset"),
		.end = number(b, "end"), .taken = number(b, "taken"), .payload = {payload.p, payload.len}};
	// Items with longer integers than needed are compared as items, by writing them anew.
	buf items = {0};
	if (got.kind == D_BUNDLE) {
		span rest = got.payload, item;
		uint64_t session;
		while (bundle_next(&rest, &session, &item)) bundle_add(&items, session, item);
		got.payload = (span){items.p, items.len};
	}
	dgram_encode(&a, &want);
	dgram_encode(&c, &got);
	bool ok = span_eq((span){a.p, a.len}, (span){c.p, c.len}) && (get(b, "only") || span_eq((span){a.p, a.len}, wire(b)));
	buf_free(&payload);
	buf_free(&items);
	buf_free(&a);
	buf_free(&c);
	return ok;
}

static bool check(const block *b) {
	if (get(b, "frame")) return check_frame(b);
	if (get(b, "stream")) return check_stream(b);
	return get(b, "kind") && check_dgram(b);
}

// Returns the number of vectors, or -1 after printing what failed.
static int run_file(const char *path) {
	FILE *file = fopen(path, "r");
	char *line = NULL;
	size_t cap = 0;
	int tried = 0;
	bool ok = file != NULL, more = ok;
	block b = {0};
	char why[200] = "cannot be read";
	while (ok && more) {
		more = getline(&line, &cap, file) >= 0;
		if (more) line[strcspn(line, "\n")] = 0;
		if (more && line[0] == '#') continue;
		char *colon = more ? strstr(line, ": ") : NULL;
		if (colon && b.n < MAX_KEYS) {
			*colon = 0;
			b.e[b.n++] = (entry){strdup(line), strdup(colon + 2)};
		} else if (b.n) {
			if (get(&b, "wire")) unhex(&b.wire, get(&b, "wire"));
			tried++;
			ok = check(&b);
			if (!ok) snprintf(why, sizeof why, "%s", get(&b, "name") ? get(&b, "name") : "a block without a name");
			for (int i = 0; i < b.n; i++) free(b.e[i].key), free(b.e[i].value);
			buf_free(&b.wire);
			b.n = 0;
		}
	}
	if (file) fclose(file);
	free(line);
	if (ok && tried) return tried;
	printf("{\"ok\":false,\"why\":\"%s\"}\n", why);
	return -1;
}

int vectors_run(const char *frames, const char *datagrams) {
	int f = run_file(frames), d = f < 0 ? -1 : run_file(datagrams);
	if (d < 0) return 1;
	printf("{\"ok\":true,\"tried\":%d}\n", f + d);
	return 0;
}
