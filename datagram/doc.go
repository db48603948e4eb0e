// Package datagram is the data plane of one link: the wire form of the unreliable messages of its sessions, their
// queues, and their way to the session they belong to. It knows no connection: bytes come in and go out by the hands of
// its user, and so does the time.
//
// # Wire form
//
// A datagram is the payload of one QUIC DATAGRAM frame (RFC 9221). Integers are QUIC varints (RFC 9000, section 16),
// here written (i). A field without a length goes on to the end of the datagram.
//
//	every datagram
//	+----------+------------+---------------
//	| kind (i) | number (i) | body ...
//	+----------+------------+---------------
//
// The number counts all datagrams of a connection and direction, whatever their kind, from 0. It is given out when the
// datagram is handed to QUIC. Gaps are legal. The largest number is 2^62-2.
//
//	0x00 message
//	+-------------+-------------
//	| session (i) | payload ...          0 bytes or more
//	+-------------+-------------
//
//	0x01 bundle: one or more of these, of any sessions of the link
//	+-------------+------------+-----------------------+
//	| session (i) | length (i) | payload, length bytes | ...
//	+-------------+------------+-----------------------+
//
//	0x02 fragment
//	+-------------+----------------+-----------+------------+-------------
//	| session (i) | message id (i) | total (i) | offset (i) | payload ...
//	+-------------+----------------+-----------+------------+-------------
//
//	0x10 heartbeat, 0x11 its echo
//	+-----------------+-------------
//	| token (8 bytes) | padding ...      20 bytes or more in all, header included
//	+-----------------+-------------
//
//	0x12 credit
//	+---------+-----------+-------------
//	| end (i) | taken (i) | ...           what follows is ignored
//	+---------+-----------+-------------
//
// An empty bundle is malformed, and so is a bundle whose last item is incomplete; a malformed bundle is dropped as a
// whole. An item of the session 2^62-1, which does not exist, is padding. Fragments count their messages per session and direction from 0; whole messages have no id. total is at least
// 1, the payload is never empty, and offset plus payload is at most total. Fragments may overlap, because a message is
// split anew when the path takes less; bytes that two fragments share must be the same, and so must the total. A
// fragment whose total is above the largest message of its receiver is malformed. The padding of a heartbeat means
// nothing. In a credit, end is the highest number seen plus one, 0 if none was; taken, at most end, is how many
// datagrams with different numbers came.
//
// Datagrams of other kinds are dropped and counted, but their numbers are seen.
//
// # Sending
//
// Push queues a copy of a message with its [Flow]. One goroutine at a time drives: it calls [Mux.Next], hands what it
// gets to QUIC, and calls [Mux.Sent] or [Mux.Refused]. That is the pump, a goroutine of the user, which [Mux.Wake] tells; or,
// so that a lone message need not wait for another goroutine, the one that has queued the message: [Flow.Offer] and
// [Mux.Drive]. Next takes heartbeats, echoes and credits first, and then messages of
// the flows in fair turns: deficit round robin by bytes. Messages that wait go together in a bundle as far as they fit;
// one that fits no datagram goes in fragments, each as large as the path takes at that moment.
//
// A message counts as sent when the datagram that holds it, or its first fragment, was handed to QUIC. What expires or
// is dropped before was never sent.
//
// [Mux.SetLimit] holds messages back until the peer has taken what was sent before: see "Credit and the datagram window"
// in session/PROTOCOL.md. In a burst, datagrams are made to fill their packets to the byte, if less than an eighth is
// missing, because packets of one size are what send offload takes.
//
// # Receiving
//
// [Mux.Handle] takes a datagram apart. Repeats within the newest 8,192 numbers are dropped, older numbers too. Messages
// go to the flow of their session:
//
//	the session is open here                     its receive queue; late, once that is closed
//	the peer's, and its stream has not ended     early: kept until it is opened
//	its stream has ended                         late: dropped
//	ours, and we never opened it                 dropped
//
// Early datagrams are kept for 1 s, 64 of them and 64 KiB for a link; a bundle counts once for each run of messages of one
// session in it. Incomplete messages are kept for 1 s from their first fragment, 8 of them and 256 KiB, by their full
// lengths, for a session; the oldest give way to new ones.
//
// Received payloads are parts of the datagram they came in, which is not copied; only short runs of a bundle are, so
// that a small message cannot keep a large datagram in memory.
//
// # Counts
//
// Every message and every datagram is accounted for once, and each drop by its [Reason]: see [Counts] and [MuxCounts]
// for the sums that hold at any moment.
//
// # Blocking and cancellation
//
// Only [Flow.Push] and its kin, under SendWait, and [Flow.Pop] and its kin block. Both end with the cause of their ctx; a result that is there
// beats a ctx that is over. Both are fair: first come, first served. CloseSend and CloseReceive end them with the error
// given there. The package starts no goroutines.
package datagram
