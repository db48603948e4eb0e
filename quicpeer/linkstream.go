package quicpeer

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/quicvarint"

	"github.com/oneportnet/quicpeer/session"
)

// streamTypeLink is the type of a link stream, the first varint on it
// (session/PROTOCOL.md, "Link stream").
const streamTypeLink = 0

// streamTypeTimeout is how long a unidirectional stream may stay without a
// type.
const streamTypeTimeout = 10 * time.Second

// acceptLinkStreams takes the peer's unidirectional streams. The first of type
// 0 is its link stream, which is read here; streams of other types are stopped
// and ignored.
func (l *link) acceptLinkStreams() {
	var once bool
	for {
		str, err := l.conn.AcceptUniStream(context.Background())
		if err != nil {
			return
		}
		l.gone.Go(func() {
			_ = str.SetReadDeadline(time.Now().Add(streamTypeTimeout))
			typ, err := quicvarint.Read(quicvarint.NewReader(str))
			_ = str.SetReadDeadline(time.Time{})
			if err != nil || typ != streamTypeLink {
				str.CancelRead(quic.StreamErrorCode(session.CodeUnsupported))
				str.ReleaseStreamCredit()
				return
			}
			l.mu.Lock()
			second := once
			once = true
			l.mu.Unlock()
			if second {
				l.violation("a second link stream")
				return
			}
			l.readLinkStream(str)
		})
	}
}

// violation ends the link because the peer broke the protocol on it.
func (l *link) violation(reason string) {
	l.ep.log.Warn("protocol violation", "remote", l.RemoteAddr(), "id", l.peer.ID, "reason", reason)
	l.close(session.Error{Cause: session.CauseViolation, Code: session.CodeViolation, Reason: reason})
}

// readLinkStream reads the peer's link stream until the link ends.
func (l *link) readLinkStream(str *quic.ReceiveStream) {
	fr := session.NewFrameReader(str, session.Limits{})
	first := true
	for {
		f, err := fr.NextFrame()
		if err != nil {
			l.linkStreamEnded(err)
			return
		}
		if _, ok := f.(session.Settings); ok != first {
			l.violation(f.FrameType().String() + " out of place on the link stream")
			return
		}
		first = false
		l.life.heard()
		switch f := f.(type) {
		case session.Settings:
			l.settingsRead(f)
		case session.GoAway:
			l.goAwayRead(f)
		case session.Ping:
			l.out.pong(session.Pong(f))
		case session.Pong:
			l.pings.pong(f.Token)
		default:
			l.violation(f.FrameType().String() + " does not belong on the link stream")
			return
		}
	}
}

// linkStreamEnded tells a violation from the end of the link.
func (l *link) linkStreamEnded(err error) {
	var frame *session.FrameError
	var reset *quic.StreamError
	switch {
	case err == io.EOF, errors.Is(err, io.ErrUnexpectedEOF):
		l.violation("the link stream ended")
	case errors.As(err, &frame):
		l.violation(frame.Error())
	case errors.As(err, &reset):
		l.violation("the link stream was reset")
	}
}

func (l *link) settingsRead(s session.Settings) {
	l.mu.Lock()
	l.settings = s
	limits := peerLimits(s)
	l.limits.Store(&limits)
	limit := l.window.open(s.Window)
	l.mu.Unlock()
	l.mux.SetLimit(limit)
	l.tellChange()
	if s.HasInstanceID && !l.anonymous {
		l.ep.checkSuperseded(l)
	}
}

func (l *link) goAwayRead(g session.GoAway) {
	l.mu.Lock()
	old := l.away
	if old != nil {
		g.FirstRefused = min(g.FirstRefused, old.FirstRefused) // it can only come down
	}
	l.away = &g
	l.noOpens()
	l.endIfLast()
	l.mu.Unlock()
	if old != nil {
		return
	}
	l.ep.log.Info("peer is going away", "remote", l.RemoteAddr(), "id", l.peer.ID, "code", g.Code.String(), "reason", g.Reason)
}

// goAway tells the peer that no further session of its will be acted on. An
// endpoint's one shutdown calls it.
func (l *link) goAway(code session.Code, reason string, deadline time.Duration) {
	l.mu.Lock()
	l.awaySent = true
	l.noOpens()
	first := l.nextRemote
	l.mu.Unlock()
	l.out.write(session.GoAway{Code: code, Reason: reason, Deadline: deadline, FirstRefused: first})
}

// refusedByGoAway reports whether the peer has said that it will not act on
// the session.
func (l *link) refusedByGoAway(id uint64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.away != nil && id >= l.away.FirstRefused
}

// linkWriter writes to our link stream, and never waits: what flow control
// holds back is kept, within bounds, and tried again with the next heartbeat.
// Safe for concurrent use.
type linkWriter struct {
	stream *quic.SendStream

	mu   sync.Mutex
	held []byte
	last *session.Pong // the PONG that is owed; a later one takes its place
}

// maxHeld bounds what waits for a peer that does not read its link stream:
// room for every GOAWAY there can be and a few PINGs. More PINGs are dropped,
// and time out.
const maxHeld = 8 << 10

// flushPiece is how much is written at once: less than the smallest flow
// control window that a peer may give its link stream.
const flushPiece = 1024

// begin writes the stream type, SETTINGS, and a frame of a reserved type, so
// that peers stay used to skipping what they do not know.
func (w *linkWriter) begin(s session.Settings) {
	b := quicvarint.Append(nil, streamTypeLink)
	b = s.Append(b)
	b = session.Unknown{Type: session.ReservedType(uint64(s.InstanceID[0]))}.Append(b)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.held = append(w.held, b...)
	w.flushLocked()
}

func (w *linkWriter) write(f session.Frame) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.held) < maxHeld {
		w.held = f.Append(w.held)
	}
	w.flushLocked()
}

func (w *linkWriter) pong(p session.Pong) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.last = &p
	w.flushLocked()
}

func (w *linkWriter) flush() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.flushLocked()
}

func (w *linkWriter) flushLocked() {
	for len(w.held) > 0 {
		n := min(len(w.held), flushPiece)
		if w.stream.TryWriteAll(w.held[:n]) != nil {
			return // no credit now, or the link has ended
		}
		w.held = append(w.held[:0], w.held[n:]...)
	}
	if w.last != nil && w.stream.TryWriteAll(w.last.Append(nil)) == nil {
		w.last = nil
	}
}

// pinger matches PONGs with PINGs. A PONG answers its PING and all before it,
// because the peer keeps only the latest. Safe for concurrent use.
type pinger struct {
	mu      sync.Mutex
	err     error
	waiting []*pingWait
}

type pingWait struct {
	token [8]byte
	sent  time.Time
	done  chan time.Time
}

// maxPings bounds how many PINGs are under way.
const maxPings = 64

func (p *pinger) ping(ctx context.Context, token [8]byte, send func()) (time.Duration, error) {
	w := &pingWait{token: token, sent: time.Now(), done: make(chan time.Time, 1)}
	p.mu.Lock()
	switch {
	case p.err != nil:
		defer p.mu.Unlock()
		return 0, p.err
	case len(p.waiting) >= maxPings:
		defer p.mu.Unlock()
		return 0, errTooManyPings
	}
	p.waiting = append(p.waiting, w)
	p.mu.Unlock()
	send()
	select {
	case at, ok := <-w.done:
		if !ok {
			p.mu.Lock()
			defer p.mu.Unlock()
			return 0, p.err
		}
		return at.Sub(w.sent), nil
	case <-ctx.Done():
		p.mu.Lock()
		defer p.mu.Unlock()
		select {
		case at, ok := <-w.done: // a result beats a cancelled context
			if ok {
				return at.Sub(w.sent), nil
			}
			return 0, p.err
		default:
		}
		for i, other := range p.waiting {
			if other == w {
				p.waiting = append(p.waiting[:i], p.waiting[i+1:]...)
				break
			}
		}
		return 0, context.Cause(ctx)
	}
}

var errTooManyPings = errors.New("quicpeer: too many pings under way on this link")

func (p *pinger) pong(token [8]byte) {
	now := time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, w := range p.waiting {
		if w.token == token {
			for _, answered := range p.waiting[:i+1] {
				answered.done <- now // has room for one, and gets one
			}
			p.waiting = append(p.waiting[:0], p.waiting[i+1:]...)
			return
		}
	}
}

// fail ends all that wait, and all that come.
func (p *pinger) fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.err = err
	for _, w := range p.waiting {
		close(w.done)
	}
	p.waiting = nil
}
