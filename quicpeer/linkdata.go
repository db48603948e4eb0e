package quicpeer

import (
	"context"
	"crypto/rand"
	"errors"
	"runtime"
	"sync"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/oneportnet/quicpeer/datagram"
	"github.com/oneportnet/quicpeer/session"
)

// driving is what belongs to whoever drives the link's Mux.
type driving struct {
	buf     []byte
	checked time.Time // when the path was looked at last
	seen    uint64    // datagrams sent and received by then
	busy    bool      // the link was busy then
}

// pump drives whenever nobody else does: it hands datagrams to QUIC as fast as
// it takes them. It is the only goroutine that may wait in SendDatagram, which
// has no context.
func (l *link) pump() {
	l.timer = time.NewTimer(time.Hour)
	defer l.timer.Stop()
	for {
		if l.mux.Drive() && !l.driveAll() {
			return
		}
		if !l.waitToPump() {
			return
		}
	}
}

// driveAll hands over all there is, and reports false if the connection has
// ended.
func (l *link) driveAll() bool {
	for {
		now := time.Now()
		if l.uncredited() >= flooded {
			if wait := l.feed.wait(now); wait > 0 {
				if !l.pause(wait) {
					return false
				}
				continue
			}
		}
		l.lookAround(now)
		d, ok := l.mux.Next(now, l.driving.buf)
		if !ok {
			return true
		}
		taken, ok := l.handOver(d)
		if !ok {
			return false
		}
		if taken {
			l.mux.Sent()
		}
	}
}

// Drive sends what is ready, on the goroutine of the caller, as far as that
// cannot make it wait; the rest is the pump's. A lone message leaves without
// waking anybody.
func (l *link) Drive() {
	if l.uncredited() >= sendQueue || !l.mux.Drive() {
		l.mux.Kick()
		return
	}
	now := time.Now()
	l.lookAround(now)
	d, more := l.mux.Next(now, l.driving.buf)
	for n := 1; more; n++ {
		taken, ok := l.handOver(d)
		switch {
		case !ok:
			return
		case !taken:
			d, more = l.mux.Next(now, l.driving.buf)
		case n >= inlineTurn || l.uncredited() >= sendQueue:
			l.mux.Sent()
			l.mux.Rest()
			return
		default:
			d, more = l.mux.SentNext(now, l.driving.buf)
		}
	}
	if l.mux.Held() {
		l.mux.Kick() // the pump asks for credit, if none comes
	}
}

// uncredited is how many datagrams may still be in QUIC's queue: those that no
// credit covers. It is too high where the peer gives no credit.
func (l *link) uncredited() uint64 { return l.handed.Load() - l.credited.Load() }

const (
	// sendQueue is how many datagrams quic-go queues before SendDatagram waits.
	sendQueue = 32
	// flooded is how many uncredited datagrams are a flood, which control has
	// to get past: more than a burst leaves behind for a moment.
	flooded = 2 * sendQueue
	// inlineTurn is how many datagrams a caller sends who came to send one.
	inlineTurn = 4
)

// handOver gives a datagram to QUIC, and reports whether it was taken, and
// whether the connection is still there. What is too large by now was refused.
func (l *link) handOver(d []byte) (taken, ok bool) {
	err := l.conn.SendDatagram(d)
	if err == nil {
		l.handed.Add(1)
		return true, true
	}
	if e, ok := errors.AsType[*quic.DatagramTooLargeError](err); ok {
		l.mux.Refused(int(e.MaxDatagramPayloadSize))
		l.tellChange()
		return false, true
	}
	return false, false
}

// lookAround looks now and then at what changes while datagrams are sent.
func (l *link) lookAround(now time.Time) {
	since := now.Sub(l.driving.checked)
	if since < busyCheck {
		return
	}
	l.checkBusy(since)
	l.driving.checked = now
	l.checkPath()
}

// pause lets the pump wait for a while, and reports false if the connection has
// ended.
func (l *link) pause(d time.Duration) bool {
	l.timer.Reset(d)
	select {
	case <-l.timer.C:
		return true
	case <-l.conn.Context().Done():
		return false
	}
}

// checkBusy is called at the earliest every busyCheck, while datagrams are sent,
// with the time since the last call. A link is busy that was so twice in a row: a
// burst is not.
func (l *link) checkBusy(d time.Duration) {
	handed := l.handed.Load() + l.received.Load()
	rate := float64(handed-l.driving.seen) / d.Seconds()
	l.driving.seen = handed
	if rate < busyRate {
		l.driving.busy = false
		return
	}
	if l.driving.busy {
		setHeapReserve(l.ep.config.HeapReserve)
	}
	l.driving.busy = true
}

// busyCheck is how often the path is looked at while datagrams are sent: soon
// enough to use what discovery of its size has found, and seldom enough to
// cost nothing.
const busyCheck = 100 * time.Millisecond

// waitToPump waits until there may be something to hand over, and reports false
// once the link has ended. While messages wait for credit only, it looks for
// other signs that the peer takes them, and asks for credit: that, or all that
// calls for it, may have been lost.
func (l *link) waitToPump() bool {
	var again <-chan time.Time
	var due time.Time
	if l.mux.Held() {
		path := l.path()
		l.mu.Lock()
		end := l.window.end
		l.mu.Unlock()
		now := time.Now()
		due = l.stalled.due(now, end, l.pto())
		wait := due.Sub(now)
		if !path.near() {
			wait = min(wait, minRound)
		}
		l.timer.Reset(wait)
		again = l.timer.C
	}
	select {
	case <-l.mux.Wake():
		return true
	case <-l.conn.Context().Done():
		return false
	case <-again:
	}
	path, given := l.path(), l.mux.NextNumber()
	if now := time.Now(); !now.Before(due) {
		if l.stalled.ask(now) {
			l.heartbeat()
			return true
		}
		path = pathState{}
		l.mu.Lock()
		l.window.end = given
		l.mu.Unlock()
	}
	l.mu.Lock()
	limit := l.window.limit(path)
	l.mu.Unlock()
	l.mux.SetLimit(limit)
	return true
}

// path asks QUIC for the state of the path.
func (l *link) path() pathState {
	s := l.conn.ConnectionStats()
	return pathState{
		minRTT:      s.MinRTT,
		smoothedRTT: s.SmoothedRTT,
		lost:        s.PacketsLost,
		heard:       s.PacketsReceived,
		room:        s.CongestionWindow / uint64(l.mux.MaxDatagram()),
	}
}

// receive takes datagrams off QUIC's short queue at once: what waits there too
// long is lost unseen.
func (l *link) receive() {
	ctx := context.Background()
	for {
		d, err := l.conn.ReceiveDatagram(ctx)
		if err != nil {
			return
		}
		now := time.Now()
		l.received.Add(1)
		ev := l.mux.Handle(now, d)
		if ev.Pressed {
			runtime.Gosched() // let the application read, rather than drop what it would
		}
		if ev.Owed {
			l.owe()
		}
		if ev.Drive {
			l.Drive()
		}
		switch ev.Kind {
		case datagram.EventHeartbeat:
			l.life.heard()
			if l.mux.QueueHeartbeat(true, ev.Token) {
				l.Drive()
			}
		case datagram.EventHeartbeatEcho:
			l.life.echoed()
		case datagram.EventCredit:
			l.life.heard()
			l.creditRead(now, ev.Credit)
		case datagram.EventViolation:
			l.mu.Lock()
			r := l.sessions[ev.Session]
			l.mu.Unlock()
			if r != nil {
				r.Violation(ev.Err.Error())
			}
		default:
			l.life.heard()
		}
	}
}

// creditRead takes credit from the peer. One that was overtaken by a later one,
// or that claims what was never sent, says nothing.
func (l *link) creditRead(now time.Time, c datagram.Credit) {
	path := l.path()
	given := l.mux.NextNumber()
	l.mu.Lock()
	if c.End < l.window.end || c.End > given {
		l.mu.Unlock()
		return
	}
	l.credited.Store(c.End)
	limit := l.window.credit(now, c.End, c.Taken, path)
	l.mu.Unlock()
	l.mux.SetLimit(limit)
}

// owe has credit sent soon, if it is not due before.
func (l *link) owe() {
	if l.credit == nil {
		l.credit = time.AfterFunc(creditDelay, func() {
			if l.mux.CreditOwed() && l.mux.QueueCredit() {
				l.Drive()
			}
		})
		return
	}
	l.credit.Reset(creditDelay)
}

// oversized is longer than any datagram: sending it does nothing but tell how
// long one may be.
var oversized = make([]byte, 1<<16)

// datagramLimit asks QUIC how long a datagram may be now.
func (l *link) datagramLimit() (int, error) {
	err := l.conn.SendDatagram(oversized)
	if e, ok := errors.AsType[*quic.DatagramTooLargeError](err); ok {
		return int(e.MaxDatagramPayloadSize), nil
	}
	if err == nil {
		err = errors.New("quicpeer: BUG: a datagram of 64 KiB was taken")
	}
	return 0, err
}

// checkPath looks for what QUIC does not announce: a new size, a new address.
func (l *link) checkPath() {
	changed := false
	if limit, err := l.datagramLimit(); err == nil {
		changed = l.mux.SetMaxDatagram(limit)
	}
	remote := addrPort(l.conn.RemoteAddr())
	l.mu.Lock()
	before := l.remote
	l.remote = remote
	l.mu.Unlock()
	if before != remote {
		changed = true
		l.ep.log.Info("peer moved", "id", l.peer.ID, "from", before, "to", remote)
	}
	if changed {
		l.tellChange()
	}
}

// tellChange tells the sessions that sizes, limits or addresses have changed.
func (l *link) tellChange() {
	l.mu.Lock()
	runners := l.runners()
	l.mu.Unlock()
	for _, r := range runners {
		r.LinkChanged()
	}
}

// pathChecks are the times after the start at which the path is looked at
// early: discovery of its size takes some round trips. Afterwards every
// heartbeat looks.
var pathChecks = []time.Duration{50 * time.Millisecond, 250 * time.Millisecond, time.Second}

// tend sends heartbeats, and does what else comes up now and then.
func (l *link) tend() {
	early := pathChecks
	next := l.since.Add(heartbeatInterval)
	timer := time.NewTimer(early[0])
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-l.conn.Context().Done():
			return
		}
		now := time.Now()
		l.checkPath()
		if len(early) > 0 {
			early = early[1:]
		}
		if l.life.dead(now) {
			why := l.ep.faults.lastTo(addrPort(l.conn.RemoteAddr()), now.Add(-deadAfter))
			l.close(session.Error{Cause: session.CauseLinkLost, Reason: "no answer to heartbeats", Err: why})
			return
		}
		if !now.Before(next) {
			next = next.Add(heartbeatInterval)
			l.beat(now)
		}
		wake := l.life.wake(next)
		if len(early) > 0 {
			if at := l.since.Add(early[0]); at.Before(wake) {
				wake = at
			}
		}
		timer.Reset(time.Until(wake))
	}
}

// beat sends one heartbeat, and what else is due as often.
func (l *link) beat(now time.Time) {
	l.heartbeat()
	l.life.sent(now)
	l.mux.Tick(now)
	l.out.flush()
	l.mu.Lock()
	runners := l.runners()
	l.mu.Unlock()
	for _, r := range runners {
		r.Report()
	}
}

// heartbeat asks the peer's process for an echo.
func (l *link) heartbeat() {
	var token [8]byte
	_, _ = rand.Read(token[:]) // never fails, crypto/rand
	if l.mux.QueueHeartbeat(false, token) {
		l.mux.Kick()
	}
}

// heartbeats knows whether the peer's process is there. Anything that its
// process sent counts as a sign of life: under load an echo may be lost, but
// then other things arrive. Safe for concurrent use.
type heartbeats struct {
	mu      sync.Mutex
	waiting time.Time // when the first heartbeat since the last sign of life was sent; zero: none
}

func (h *heartbeats) heard() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.waiting = time.Time{}
}

func (h *heartbeats) echoed() { h.heard() }

func (h *heartbeats) sent(now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.waiting.IsZero() {
		h.waiting = now
	}
}

// wake returns when to look again: at next, or when dead may come true before.
// Timers are late by as little or as much as they like, so a heartbeat that went
// out late must not have its peer found dead a whole interval late.
func (h *heartbeats) wake(next time.Time) time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	if at := h.waiting.Add(deadAfter); !h.waiting.IsZero() && at.Before(next) {
		return at
	}
	return next
}

// dead reports whether heartbeats have gone unanswered for too long.
func (h *heartbeats) dead(now time.Time) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return !h.waiting.IsZero() && now.Sub(h.waiting) >= deadAfter
}
