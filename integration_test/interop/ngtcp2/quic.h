// The adapter to ngtcp2 and GnuTLS: one UDP socket for the connections dialed and those accepted.
#pragma once
#include <netinet/in.h>

#include "link.h"

typedef struct {
	const char *cert, *key, *peer_id;
	bool anonymous;    // present no certificate
	bool no_datagrams; // do not offer the extension
	bool accepting;
	bool odd_settings;
} options;

typedef struct endpoint endpoint;
endpoint *endpoint_new(const struct sockaddr_in *local, const options *o); // NULL if it cannot be had
void endpoint_free(endpoint *e);
int endpoint_port(const endpoint *e);
peer_link *endpoint_dial(endpoint *e, const struct sockaddr_in *remote);
peer_link *endpoint_link(endpoint *e, size_t n); // the links in the order in which they began; NULL beyond
struct sockaddr_in endpoint_remote(const peer_link *l);
void endpoint_turn(endpoint *e, uint64_t until); // sends what is due, waits for something to happen, reads it
