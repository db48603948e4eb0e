// Package quicpeer makes a process server and client on one UDP port: it
// accepts and dials sessions with any number of peers, sends messages that may
// be lost, and knows for certain when each conversation began and ended.
//
// # The one thing to make is an Endpoint
//
// [Listen] binds one socket and runs one QUIC transport on it (RFC 9000).
// [Endpoint.Accept] hands out the sessions that peers want to open,
// [Endpoint.Dial] opens one, always from the listening port. Either gives a
// [Session], which is the same thing on both sides: messages travel as QUIC
// datagrams (RFC 9221), unreliably; signals, and the opening and closing of the
// session, travel on a stream of its own, reliably. [Endpoint.Close] ends all of
// them in order, and the port.
//
// Between two endpoints there is a link, one QUIC connection, for all their
// sessions, whichever side dialed it. Links come and go by themselves: the
// first Dial makes one, later ones use it, and one without sessions closes
// after 20 seconds. Nothing in this package names a link to the application but
// [Endpoint.Links], for display.
//
// # Who may connect
//
// A peer is a key; its id is the hash of the public key (package certs). Both
// sides authenticate. The zero [Config] trusts nobody: give it a
// [certs.Trust], or dial with [DialOptions].PeerID. Trust can be replaced while
// the endpoint runs, and live links are checked again.
//
// # What is promised
//
// Close of a session returns nil only when the peer's session knows code and
// reason. A Dial that fails says whether the peer may have acted on it. Every
// call on a session that has ended returns the same [Error]. What was lost is
// counted exactly, both ways, when a close is confirmed. Package session has the
// details, and PROTOCOL.md beside it the protocol.
//
// # Concurrency, memory, time
//
// Everything is safe for concurrent use unless it says otherwise, and every
// call that waits takes a context. Every queue is bounded: see [Limits], and
// [session.Options] for what a session holds. An idle link costs each side ten
// goroutines, QUIC's included, and some 100 KB, an idle session one goroutine
// and some 7 KB (measured on Linux, amd64: BenchmarkIdleSession in
// integration_test). An endpoint with receive offload, on Linux, has buffers of
// 256 KB.
//
// To see what an application does on a bad network, test it on package faultnet.
package quicpeer
