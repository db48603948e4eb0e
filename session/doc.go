// Package session is the conversation between two peers: opened reliably and
// closed reliably, with the other side's confirmation, and in between
// unreliable messages and reliable signals both ways.
//
// It knows no QUIC connection. A link, which is one, hands it control streams
// and datagrams through the interfaces [Link] and [Stream], and drives each
// session through its [Runner]. Applications get a [Session] from an endpoint
// and never see those three.
//
// PROTOCOL.md, beside this file, is the complete specification of what goes
// over the wire.
//
// # Life of a session
//
//	 Dial                                    OPEN arrives
//	   │                                          │
//	Opening ── REJECT, ctx, abort ─► Closed ◄─ Reject ─ Incoming
//	   │ ACCEPT                                 Accept │
//	   └──────────────────► Open ◄────────────────────┘
//	              Close │          │ the peer closes
//	                 Closing     Draining
//	                    └─► Closed ◄┘
//
// Dial returns when the peer's application has accepted, or with the reason
// why not. What to send when:
//
//   - [Session.Send] for what is worthless when it is late: it may be lost or
//     overtaken, but arrives whole, and at most once.
//     [Session.SendBatch], [Session.ReceiveBatch] and [Session.ReceiveInto] do the
//     same for many messages with less work for each.
//   - [Session.Signal] for the few things that must arrive: it returns when the
//     peer's application has taken them.
//   - [Session.Close] to end it: it returns nil when the peer's session knows.
//
// A session ends for both sides: by Close of either, by Abort, because the peer
// broke the protocol, or with its link. From then on every call returns the
// same *[Error], which says in which way it ended, by which side, and with
// which code and reason. Messages and signals that had arrived can still be
// read, unless this side aborts; then comes the cause. [Session.Err] and
// [Session.Done] tell without a call, [Session.WaitChange] every change.
//
// # What is promised
//
//   - A nil from Close: every call on the peer's session returns, or will return
//     after what had arrived before, this side's code and reason. Without a
//     confirmation in time Close returns an error, and the session is torn.
//   - When both sides have closed at once, both are confirmed, and each side's
//     cause is its own close.
//   - After an orderly close both sides know exactly how many messages were lost
//     in each direction, see [Session.Stats]: Complete says so.
//   - A nil from Signal: the peer's application has taken it. Any other result is
//     a *[SignalError] that says what is known: not sent, delivered but not
//     taken, or unknown.
//   - An application that does not read holds up neither the other sessions of
//     its link nor any close. It loses its own messages, by the rule that
//     [Options] sets, and counted; and while what it left behind is unread, the
//     peer may open one session less.
//   - What a peer sends can cost it its session, or its link. It cannot make this
//     side keep more than the queues, 16 signals and one frame of each kind.
//
// # Blocking and cancellation
//
// Every call that can wait takes a ctx, and returns the cause of its end
// ([context.Cause]). A result that is there beats a ctx that is over. Cancelling
// a call takes back what has not left: a message that waits for room in the
// queue, a signal that waits for credit. It does not call back a signal on its
// way, and it does not close the session, with two exceptions: a Close whose ctx
// ends tears the session, and a Dial whose ctx ends takes its OPEN back.
//
// [Session.Conn] shows a session as a [net.Conn], with deadlines in place of
// contexts, to code that was written for connected UDP.
//
// All types are safe for concurrent use unless they say otherwise. Nothing calls
// the application back.
package session
