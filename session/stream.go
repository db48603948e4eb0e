package session

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/oneportnet/quicpeer/certs"
	"github.com/oneportnet/quicpeer/datagram"
)

// Stream is the control stream of one session: a bidirectional QUIC stream,
// as the session uses it. Reading is the business of one goroutine at a time; the other
// methods may be called at any time.
type Stream interface {
	// Read reads as [io.Reader] does. It returns [io.EOF] after the peer's
	// FIN and a *ResetError after its RESET_STREAM; any other error means
	// that the link is gone.
	io.Reader
	// TryWrite queues all of p without waiting, or nothing: ErrWouldBlock.
	TryWrite(p []byte) error
	// Write queues all of p and waits for the peer's flow control credit.
	Write(p []byte) (int, error)
	// CloseWrite ends our side with FIN.
	CloseWrite()
	// Reset sends RESET_STREAM and STOP_SENDING with the code.
	Reset(Code)
	// OnStopSending has f called, on a goroutine of its own, if the peer sends
	// STOP_SENDING, unless stop has been called before.
	OnStopSending(f func(Code)) (stop func() bool)
	// ReleaseCredit lets the peer open another session in place of this one
	// (RFC 9000 section 4.6). A stream that we opened ignores it.
	ReleaseCredit()
}

// ErrWouldBlock is returned by [Stream.TryWrite] when flow control leaves no
// room.
var ErrWouldBlock = errors.New("session: stream write would block")

// ResetError is returned by [Stream.Read] when the peer has reset the stream.
type ResetError struct{ Code Code }

// Error names the code.
func (e *ResetError) Error() string { return fmt.Sprintf("session: stream reset (%v)", e.Code) }

// PeerLimits is what a peer takes, from its SETTINGS; the defaults before they
// have come.
type PeerLimits struct {
	MaxMessage int // bytes of one message
	MaxSignal  int // bytes of one signal
	MaxSignals int // signals outstanding
}

// Link is the connection under a session, as the session uses it. All methods
// may be called at any time, by any goroutine, and none of them waits but
// Ping.
type Link interface {
	Mux() *datagram.Mux
	// Drive sends what is ready in Mux, after a call there has said that
	// somebody has to.
	Drive()
	LocalAddr() net.Addr
	RemoteAddr() net.Addr
	// RemoteID is the peer's verified identity; false if it is anonymous.
	RemoteID() (certs.PeerID, bool)
	// RTT is QUIC's smoothed round trip time; zero before the first sample.
	RTT() time.Duration
	// Ping measures one round trip to the peer's process, on the link stream.
	Ping(context.Context) (time.Duration, error)
	PeerLimits() PeerLimits
	// Offer hands over a session that the peer opens, once its OPEN is
	// complete.
	Offer(*Incoming)
	// Withdraw takes back what Offer handed over.
	Withdraw(*Incoming)
	// Read has the Runner's Read called, on a goroutine of its own.
	Read(*Runner)
	// Finished tells that the session's stream is over.
	Finished(*Runner)
}

// frameWriter writes whole frames to a stream, in order, without ever making
// the caller wait. What flow control holds back is kept here and written by a
// goroutine that lives until it is gone. The protocol bounds what is kept:
// signals have their credit, SIGNAL_ACK and REPORT are cumulative and take one
// place each, the other frames come once.
//
// The zero value with a stream is ready. Safe for concurrent use.
type frameWriter struct {
	stream Stream

	mu      sync.Mutex
	held    []heldFrame // not yet taken by the stream
	fin     bool        // end the stream once held is gone
	writing bool        // a goroutine is writing what was held
	dead    bool
}

type heldFrame struct {
	t FrameType
	b []byte
}

// write writes a frame, and in the same piece those that go behind it.
func (w *frameWriter) write(f Frame, behind ...Frame) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.dead || w.fin {
		return
	}
	b := f.Append(make([]byte, 0, shortFrame))
	for _, next := range behind {
		b = next.Append(b)
	}
	if !w.writing {
		err := w.stream.TryWrite(b)
		if err == nil {
			return
		}
		if !errors.Is(err, ErrWouldBlock) {
			w.dead = true // reset or link lost: the reading side learns why
			return
		}
	}
	w.hold(f.FrameType(), b)
	if !w.writing {
		w.writing = true
		go w.drain()
	}
}

// hold keeps a frame, in place of an older one that it makes obsolete.
func (w *frameWriter) hold(t FrameType, b []byte) {
	if t == TypeSignalAck || t == TypeReport {
		for i := range w.held {
			if w.held[i].t == t {
				w.held[i].b = b
				return
			}
		}
	}
	w.held = append(w.held, heldFrame{t, b})
}

// drain writes what is held until nothing is. The stream's end, however it
// comes, unblocks it.
func (w *frameWriter) drain() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(w.held) > 0 && !w.dead {
		var b []byte
		for _, h := range w.held {
			b = append(b, h.b...)
		}
		w.held = nil
		w.mu.Unlock()
		_, err := w.stream.Write(b)
		w.mu.Lock()
		w.dead = w.dead || err != nil
	}
	w.writing = false
	w.held = nil
	if w.fin && !w.dead {
		w.stream.CloseWrite()
	}
}

// close ends our side of the stream after all that was written.
func (w *frameWriter) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.dead || w.fin {
		return
	}
	w.fin = true
	if !w.writing {
		w.stream.CloseWrite()
	}
}

// reset drops what is held and tears the stream.
func (w *frameWriter) reset(code Code) {
	w.mu.Lock()
	w.dead = true
	w.held = nil
	w.mu.Unlock()
	w.stream.Reset(code)
}
