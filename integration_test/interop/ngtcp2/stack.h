// What the session layer needs of a QUIC stack. Everything is queued and leaves when the loop runs; streams and
// connections that are gone are passed over. Times are in nanoseconds.
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MS UINT64_C(1000000)
#define SECOND (1000 * MS)

typedef struct conn conn;
int64_t stack_open(conn *c, bool bidi);
void stack_write(conn *c, int64_t stream, const void *data, size_t len, bool fin);
void stack_reset(conn *c, int64_t stream, uint64_t code);
void stack_stop(conn *c, int64_t stream, uint64_t code);
void stack_datagram(conn *c, const void *data, size_t len);
void stack_close(conn *c, uint64_t code, const char *reason);
void stack_random(void *out, size_t len);
uint64_t stack_now(void);
uint64_t stack_rtt(conn *c);
