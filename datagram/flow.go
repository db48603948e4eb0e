package datagram

import (
	"errors"
	"fmt"
	"io"
	"time"
)

var (
	// ErrQueueFull is what Push returns when the send queue is full and the policy is SendFail.
	ErrQueueFull = errors.New("datagram: send queue full")
	// ErrRemoved ends the calls on a flow that was removed from its link without being closed before.
	ErrRemoved = errors.New("datagram: flow removed from its link")
)

// ShortBufferError is what PopInto returns for a buffer that the next message does not fit into.
type ShortBufferError struct {
	Size   int // of the message, in bytes
	Buffer int // what there was room for
}

// Error names both sizes.
func (e *ShortBufferError) Error() string {
	return fmt.Sprintf("datagram: the next message has %d bytes, the buffer takes %d", e.Size, e.Buffer)
}

// Is makes it an [io.ErrShortBuffer].
func (e *ShortBufferError) Is(target error) bool { return target == io.ErrShortBuffer }

// A SendPolicy says what Push does when the send queue is full.
type SendPolicy uint8

const (
	SendDefault    SendPolicy = iota // in FlowConfig: wait; in SendOptions: what the flow's configuration says
	SendWait                         // wait for room, for as long as ctx allows
	SendDropOldest                   // drop the oldest message among those of the lowest priority
	SendFail                         // return ErrQueueFull
)

// A ReceivePolicy says what a full receive queue drops.
type ReceivePolicy uint8

const (
	ReceiveDropOldest ReceivePolicy = iota // make room for what is newer
	ReceiveDropNewest                      // keep what came first
)

// Implementation choices, used where a FlowConfig says 0.
const (
	// Messages and bytes that wait to be sent: about 20 ms of full-size datagrams at 100 Mbit/s, and four of the
	// largest messages. More would only grow old in the queue.
	DefaultSendMessages = 1024
	DefaultSendBytes    = 256 << 10
	// Messages and bytes that wait to be read: a reader that is away for 7 ms at 100,000 full-size datagrams a second
	// loses nothing, nor one of small messages, of which a datagram brings up to 300, while it is away for a millisecond.
	DefaultReceiveMessages = 16384
	DefaultReceiveBytes    = 1 << 20
)

// FlowConfig bounds the queues of a flow. A limit of 0 or less means the default. Bytes count payload only.
// One message always fits an empty queue, however large it is.
type FlowConfig struct {
	SendMessages int
	SendBytes    int
	SendFull     SendPolicy

	ReceiveMessages int
	ReceiveBytes    int
	ReceiveFull     ReceivePolicy
}

func (c FlowConfig) withDefaults() FlowConfig {
	set := func(v *int, byDefault int) {
		if *v <= 0 {
			*v = byDefault
		}
	}
	set(&c.SendMessages, DefaultSendMessages)
	set(&c.SendBytes, DefaultSendBytes)
	set(&c.ReceiveMessages, DefaultReceiveMessages)
	set(&c.ReceiveBytes, DefaultReceiveBytes)
	if c.SendFull == SendDefault {
		c.SendFull = SendWait
	}
	return c
}

// SendOptions of one message. The zero value is an ordinary message.
type SendOptions struct {
	// Expiry is how long after Push the message may still be handed to QUIC. 0 or less: for ever.
	// A message of which a first fragment was handed over is sent to its end.
	Expiry time.Duration
	// Priority orders the messages of one flow: higher first, in order within the same priority.
	Priority int
	// Full overrides the policy of the flow.
	Full SendPolicy
}

// A Flow is the two queues of one session on a link. Its Mux made it, in Open.
//
// It is safe for concurrent use. Its methods stay usable after the flow was removed from its Mux.
// Its sending fields are guarded by the Mux's sending lock, its receiving fields by the receiving lock.
type Flow struct {
	mux *Mux
	id  uint64
	cfg FlowConfig

	send sendSide
	recv receiveSide
}

// ID returns the session id.
func (f *Flow) ID() uint64 { return f.id }

// Counts of one flow. They say exactly what became of each message:
//
//	Pushed   = Sent + SendDrops.Total() + Queued
//	Received = taken by the application + Dropped + ReceiveDrops[ReasonDiscarded] + Unread
type Counts struct {
	Pushed      uint64 // messages that Push accepted
	Sent        uint64 // of those, handed to QUIC; of a fragmented message, the first fragment
	SentBytes   uint64 // payload of those
	Cut         uint64 // of those sent, messages whose last fragments were dropped: nobody can receive them
	End         uint64 // last datagram number used by this flow + 1; 0 if none was
	Queued      int    // messages that wait to be handed over, or are being handed over
	QueuedBytes int
	SendDrops   Drops // messages never sent

	Received      uint64 // messages complete in time, whether read or dropped by the queue
	ReceivedBytes uint64 // payload of those
	Dropped       uint64 // of those received, dropped by the full receive queue: ReasonOldest and ReasonNewest
	Late          uint64 // messages that came after CloseReceive
	Unread        int    // messages in the receive queue
	UnreadBytes   int
	ReceiveDrops  Drops // includes Dropped and Late; ReasonStaleFragment counts fragments
}

// Counts returns the counts of this moment. Sent, End and SendDrops no longer change once Drained is closed;
// Received and Dropped no longer change after CloseReceive.
func (f *Flow) Counts() Counts {
	var c Counts
	f.countSending(&c)
	f.countReceiving(&c)
	return c
}

// Totals of one flow: those of its Counts that its peer is told, or is held to. They cost less.
type Totals struct {
	Pushed, Sent, End, Received, Dropped, Late uint64
}

// Totals returns the totals of this moment.
func (f *Flow) Totals() Totals {
	var t Totals
	m := f.mux
	m.send.mu.Lock()
	t.Pushed, t.Sent, t.End = f.send.pushed, f.send.sent, f.send.end
	m.send.mu.Unlock()
	m.recv.mu.Lock()
	defer m.recv.mu.Unlock()
	t.Received = f.recv.received
	if d := f.recv.drops.counts; d != nil {
		t.Dropped, t.Late = d[ReasonOldest]+d[ReasonNewest], d[ReasonLate]
	}
	return t
}

// closedChannel stands for all events that happened before anyone asked for them.
var closedChannel = func() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}()

// An event is a channel that is closed once something has happened, and that exists only if somebody asked for it.
type event struct {
	channel  chan struct{}
	happened bool
}

func (e *event) done() <-chan struct{} {
	if e.channel == nil {
		if e.happened {
			return closedChannel
		}
		e.channel = make(chan struct{})
	}
	return e.channel
}

func (e *event) fire() {
	if e.happened {
		return
	}
	e.happened = true
	if e.channel != nil {
		close(e.channel)
	}
}
