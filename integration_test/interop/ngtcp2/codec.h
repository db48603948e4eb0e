// The bytes of quicpeer/1: integers, control frames, datagrams. Knows nothing of sessions or of a QUIC stack.
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define INT_MAX62 ((UINT64_C(1) << 62) - 1)

typedef struct { const uint8_t *p; size_t len; } span;
typedef struct { uint8_t *p; size_t len, cap; } buf;

void buf_add(buf *b, const void *p, size_t len);
void buf_int(buf *b, uint64_t n);
void buf_drop(buf *b, size_t n); // from the front
void buf_free(buf *b);
span span_of(const char *text);
bool span_eq(span a, span b);
bool take_int(span *in, uint64_t *n);
bool take_bytes(span *in, uint64_t len, span *out);

enum frame_type {
	F_SETTINGS = 0x00, F_GOAWAY, F_PING, F_PONG,
	F_OPEN = 0x10, F_ACCEPT, F_REJECT, F_SIGNAL, F_SIGNAL_ACK, F_REPORT, F_CLOSE,
	F_CLOSE_ACK = 0x18, F_DONE,
};

// The places of the fields of a frame in frame.v.
enum { GOAWAY_CODE, GOAWAY_REASON, GOAWAY_DEADLINE, GOAWAY_FIRST };
enum { OPEN_PROTOCOL, OPEN_METADATA };
enum { REJECT_CODE, REJECT_REASON, REJECT_RETRY };
enum { REPORT_RECEIVED, REPORT_LATE, REPORT_DROPPED };
enum { CLOSE_CODE, CLOSE_REASON, CLOSE_SENT, CLOSE_END, CLOSE_SIG_RECEIVED, CLOSE_SIG_TAKEN };
enum { ACK_SENT, ACK_END, ACK_RECEIVED, ACK_LATE, ACK_DROPPED, ACK_SIG_RECEIVED, ACK_SIG_TAKEN };
enum { DONE_RECEIVED, DONE_LATE, DONE_DROPPED };
enum { SET_INSTANCE, SET_MAX_MESSAGE, SET_MAX_SIGNAL, SET_MAX_SIGNALS, SET_WINDOW };

typedef struct { uint64_t n; span s; bool set; } field;
typedef struct { uint64_t type; field v[7]; } frame;

// One letter for each field: i integer, t time, r reason, s string, b bytes, 8 token, and for a setting of SETTINGS
// I instance id, n number.
typedef struct { uint64_t type; const char *name, *format; const char *fields[7]; } frame_info;
const frame_info *frame_find(uint64_t type);
const frame_info *frame_named(const char *name);
void frame_encode(buf *out, const frame *f);

typedef enum { PARSE_MORE, PARSE_FRAME, PARSE_LIMIT, PARSE_MALFORMED, PARSE_UNKNOWN_FIRST } parse_result;
// Reads the frames of one stream. A frame's spans point into the parser, until the next call.
typedef struct { buf in; size_t used; uint64_t skip; bool begun; } parser;
void parser_feed(parser *p, const uint8_t *data, size_t len);
parse_result parser_next(parser *p, frame *f);
bool parser_between_frames(const parser *p);

enum dgram_kind { D_MESSAGE = 0, D_BUNDLE = 1, D_FRAGMENT = 2, D_HEARTBEAT = 0x10, D_ECHO = 0x11, D_CREDIT = 0x12 };
typedef enum { DGRAM_OK, DGRAM_UNKNOWN, DGRAM_INVALID } dgram_result;
typedef struct {
	uint64_t kind, number;
	bool has_session;               // of an invalid one: whose fault it is, if that could be read
	uint64_t session;
	span payload;                   // of a bundle: all its items, for bundle_next; of a heartbeat: the token
	uint64_t message, total, offset; // of a fragment
	uint64_t end, taken;            // of a credit
} dgram;
dgram_result dgram_decode(span in, dgram *d);
void dgram_encode(buf *out, const dgram *d);
bool bundle_next(span *items, uint64_t *session, span *payload);
void bundle_add(buf *items, uint64_t session, span payload);
