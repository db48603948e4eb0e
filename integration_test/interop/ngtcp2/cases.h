#pragma once
// Plays a case; prints the outcome and returns the status. dial is an address, or NULL to listen on port 0.
int case_run(const char *name, const char *address, int dial, const char *cert, const char *key, const char *peer_id);
