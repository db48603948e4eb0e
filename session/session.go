package session

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/oneportnet/quicpeer/certs"
	"github.com/oneportnet/quicpeer/datagram"
)

// Session is one conversation with one peer: opened reliably, closed
// reliably, with unreliable messages and reliable signals both ways in
// between.
//
// A Session is made by an endpoint's Dial, or by [Incoming.Accept]. All its
// methods may be called at any time by any number of goroutines. Once the
// session has ended, every call, those that were waiting too, returns the same
// *[Error]; messages and signals that had arrived stay readable before it.
type Session struct {
	id       uint64
	link     Link
	opts     *Options
	open     Open           // what the OPEN said
	flow     *datagram.Flow // nil while incoming; set once, before the application sees the session
	incoming *Incoming      // what was offered; nil on the opener's side
	frames   FrameReader    // for the goroutine that reads
	writer   frameWriter
	stopStop func() bool // undoes OnStopSending
	opener   bool
	over     atomic.Bool // in StateClosed

	// Much of this is made only when it is needed: there are thousands of
	// sessions, and most are idle.
	mu      sync.Mutex
	m       machine
	work    *work         // of the step under way
	after   []func()      // to be called once mu is free
	serve   func()        // what whoever read the OPEN is to do next: Serve
	err     *Error        // the cause; nil while there is none
	accept  Accept        // what the ACCEPT said
	done    chan struct{} // closed in StateClosed; nil while nobody has asked
	changed chan struct{} // closed at the next change; nil while nobody waits
	timer   *time.Timer   // nil while there is no deadline
	timerAt time.Time

	closeResult *Error
	signals     [][]byte      // received, not yet taken
	signalling  []*signalWait // ours, in order, not yet taken by the peer's application
	report      *peerReport   // nil before the first
	reported    uint64        // messages received, as last told to the peer

	calling    bool // somebody is calling after
	accepted   bool // the peer's ACCEPT has been read while the session was opening
	closing    bool // the application has closed or aborted it, or given it up
	closeBegun bool // our close has gone to the machine
	closeOver  bool // and its result is known
	waiting    bool // the dialer waits in WaitOpen
	left       bool // whoever read the OPEN has gone on to something else
	owed       bool // nobody reads, until resume is called
	held       bool // the peer's stream credit is kept for now: Hold
	released   bool // the peer's stream credit has been given back
}

// closedChannel is Done of every session that was over before anyone asked.
var closedChannel = func() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}()

// newSession makes a session around a stream that exists.
func newSession(link Link, stream Stream, id uint64, opener bool, opts *Options) *Session {
	return &Session{
		id: id, opener: opener, link: link, opts: opts, m: newMachine(opener),
		frames: FrameReader{src: stream}, writer: frameWriter{stream: stream},
	}
}

// ID returns the session's id, unique on its link (PROTOCOL.md, "Session
// id"). Datagrams carry it.
func (s *Session) ID() uint64 { return s.id }

// Protocol returns the application protocol that the OPEN named.
func (s *Session) Protocol() string { return s.open.Protocol }

// Metadata returns what the opener sent along with the OPEN. The caller must
// not change it.
func (s *Session) Metadata() []byte { return s.open.Metadata }

// AcceptMetadata returns what the acceptor sent along with its ACCEPT. The
// caller must not change it.
func (s *Session) AcceptMetadata() []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.accept.Metadata
}

// Opener reports whether this side opened the session.
func (s *Session) Opener() bool { return s.opener }

// LocalAddr returns the address of this endpoint's one UDP port.
func (s *Session) LocalAddr() net.Addr { return s.link.LocalAddr() }

// RemoteAddr returns the peer's address now. It changes when the peer moves
// to another path; [Session.WaitChange] tells.
func (s *Session) RemoteAddr() net.Addr { return s.link.RemoteAddr() }

// RemoteID returns the peer's verified identity, or false if the peer is
// anonymous.
func (s *Session) RemoteID() (certs.PeerID, bool) { return s.link.RemoteID() }

// Ping measures one round trip to the peer's process over the link, past its
// queues of messages. It returns ctx's error or the session's.
func (s *Session) Ping(ctx context.Context) (time.Duration, error) {
	if err := s.Err(); err != nil {
		return 0, err
	}
	waiting, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		select {
		case <-s.Done():
			cancel()
		case <-waiting.Done():
		}
	}()
	rtt, err := s.link.Ping(waiting)
	if err == nil {
		return rtt, nil
	}
	if cause := s.Err(); cause != nil && ctx.Err() == nil {
		return 0, cause
	}
	return 0, err
}

// State returns where the session stands.
func (s *Session) State() State {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.m.state
}

// Done returns a channel that is closed when the session is over: both sides
// know, or it was torn. The totals of [Session.Stats] are final from then on.
// It may close a moment after Close has returned.
func (s *Session) Done() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.doneLocked()
}

func (s *Session) doneLocked() <-chan struct{} {
	if s.done == nil {
		if s.over.Load() {
			return closedChannel
		}
		s.done = make(chan struct{})
	}
	return s.done
}

// Err returns why the session ended, an *[Error], or nil while it has not. It
// is set as soon as either side closes, before [Session.Done].
func (s *Session) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		return nil
	}
	return s.err
}

// step takes one input, and does what the machine says.
func (s *Session) step(in *input) {
	s.mu.Lock()
	s.stepLocked(in)
	s.unlock()
}

// unlock frees mu and calls what had to wait for that, in order: the link must
// not hear that a session is taken back before it was offered. If another
// goroutine is calling, it goes on with these.
func (s *Session) unlock() {
	if !s.calling {
		s.calling = true
		for len(s.after) > 0 {
			f := s.after[0]
			s.after = s.after[1:]
			s.mu.Unlock()
			f()
			s.mu.Lock()
		}
		s.after, s.calling = nil, false
	}
	s.mu.Unlock()
}

// work is what a step works with.
type work struct {
	todo []input  // the step's input, and those that its outputs called for
	out  []output // of the input at hand
}

var works = sync.Pool{New: func() any { return new(work) }}

func (s *Session) stepLocked(in *input) {
	now := time.Now()
	w := works.Get().(*work)
	s.work = w
	w.todo = append(w.todo, *in)
	for i := 0; i < len(w.todo); i++ {
		w.out = s.m.step(now, &w.todo[i], w.out[:0])
		for j := range w.out {
			s.carryOut(now, &w.out[j])
		}
		clear(w.out)
	}
	s.work = nil
	clear(w.todo)
	w.todo = w.todo[:0]
	works.Put(w)
	s.setTimer(now)
}

// later adds an input to the step under way.
func (s *Session) later(in input) { s.work.todo = append(s.work.todo, in) }

// carryOut does one thing that the machine asked for. Nothing in here waits
// or calls the application.
func (s *Session) carryOut(now time.Time, o *output) {
	switch o.kind {
	case outWrite:
		s.writeFrame(o.frame)
	case outFIN:
		s.writer.close()
	case outReset:
		s.writer.reset(o.code)
	case outIncoming:
		s.open = o.frame.(Open)
		s.incoming = &Incoming{s: s}
		s.callLater(func() { s.link.Offer(s.incoming) })
	case outWithdrawn:
		s.callLater(func() { s.link.Withdraw(s.incoming) })
	case outOpened:
		s.accepted = true
		s.accept = o.frame.(Accept)
		s.notify()
	case outFlush:
		s.startFlush()
	case outStopSend:
		s.stopSend()
	case outSettle:
		s.startSettle(now, o.tally, o.unknown)
	case outCause:
		e := o.cause
		s.err = &e
		s.notify()
	case outSignal:
		s.signals = append(s.signals, o.frame.(Signal).Payload)
		s.notify()
	case outSignals:
		s.resolveSignals(o.tally.Sent, o.tally.Received, o.cause.Cause != 0)
	case outReport:
		s.report = &peerReport{o.frame.(Report), now}
	case outConfirmed:
		s.confirmed(o.cause)
	case outState:
		s.notify()
	case outClosed:
		s.ended()
	case outFinished:
		if s.stopStop != nil {
			s.stopStop()
		}
		s.callLater(func() { s.link.Finished(&Runner{s}) })
	}
}

// callLater has f called once mu is free.
func (s *Session) callLater(f func()) { s.after = append(s.after, f) }

// writeFrame writes f, and now and then a frame of a reserved type behind the
// first one, so that peers stay used to skipping what they do not know.
func (s *Session) writeFrame(f Frame) {
	switch f.(type) {
	case Open, Accept:
		if s.id%reservedEvery == 0 {
			s.writer.write(f, Unknown{Type: ReservedType(s.id / reservedEvery)})
			return
		}
	}
	s.writer.write(f)
}

// ended makes the end of the session visible to everything that still waits.
func (s *Session) ended() {
	if s.flow != nil {
		s.flow.CloseSend(errEnded)
		s.flow.DropQueued()
		s.flow.CloseReceive(errEnded)
	}
	s.link.Mux().Remove(s.id)
	s.over.Store(true)
	if s.done != nil {
		close(s.done)
	}
	s.notify()
	s.releaseCredit()
}

// releaseCredit lets the peer open another session in place of this one, once
// this one is over and what it left unread is read, discarded, or of no
// interest to an application that has closed it itself. Otherwise a peer could
// pile up unread queues by opening and closing. The stack gives the credit out
// only when the stream has ended too.
func (s *Session) releaseCredit() {
	if s.opener || s.released || s.held || s.m.state != StateClosed {
		return
	}
	if len(s.signals) > 0 && !s.closing {
		return
	}
	if s.flow != nil && !s.closing {
		select {
		case <-s.flow.Emptied():
		default:
			return
		}
	}
	s.released = true
	s.writer.stream.ReleaseCredit()
}

// setTimer keeps one timer for the machine's deadline.
func (s *Session) setTimer(now time.Time) {
	if s.m.deadline.Equal(s.timerAt) {
		return
	}
	s.timerAt = s.m.deadline
	switch {
	case s.timerAt.IsZero():
		s.timer.Stop()
		s.timer = nil
	case s.timer == nil:
		s.timer = time.AfterFunc(s.timerAt.Sub(now), s.timerFired)
	default:
		s.timer.Reset(s.timerAt.Sub(now))
	}
}

// timerFired may come too early, when the wall clock has jumped or the deadline
// was moved meanwhile: then setTimer sets the timer again.
func (s *Session) timerFired() {
	s.mu.Lock()
	s.timerAt = noDeadline
	s.stepLocked(&input{kind: inTimer})
	s.unlock()
}
