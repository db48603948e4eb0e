package quicpeer

import "time"

// What the specification fixes (session/PROTOCOL.md, "Credit and the datagram
// window").
const (
	creditDelay = 25 * time.Millisecond // how long credit may be owed
)

// What this implementation has chosen.
const (
	// ownWindow is the window that this side states: quic-go queues 128
	// received datagrams and drops what comes beyond, unseen. A few places are
	// left for heartbeats and credits, which keep no window.
	ownWindow = 120
	// creditEvery gives a sender four credits for each window, so that losing
	// one costs nothing.
	creditEvery = ownWindow / 4
	// nearPath is the round trip below which the window is kept as stated. Such
	// a path holds no more datagrams than the receiver's queue; beyond it,
	// datagrams are on the wire, and the window grows by what the path holds.
	nearPath = time.Millisecond
	// windowRounds is how many rounds the best delivered rate is kept.
	windowRounds = 10
	// maxStalls is how many probe timeouts a sender without credit waits, with
	// a heartbeat after each, before it goes on regardless.
	maxStalls = 3
	// minRound is the shortest round: below it, rates are guesses. It is also
	// how often a sender without credit looks for other signs of progress.
	minRound = 5 * time.Millisecond
)

// window reckons how far a sender may go ahead of the receiver: the window that
// the receiver states, for its queue, and what the path holds.
//
// The latter is the best rate at which datagrams arrived of late, times the
// smallest round trip, times a gain, which is 2 until the receiver's stack is
// seen to drop datagrams, and 1 from then on. Until then it is no less than
// QUIC's congestion window, either: a rate is known a round trip late, and its
// double would hold up slow start, which doubles what is on its way in that
// time.
//
// Credit may fail to come although datagrams arrive: quic-go paces what it
// sends, by a congestion window that credit alone never makes grow, and its
// acknowledgements use up that pace when losses make them long. Then packets of
// the peer still tell of progress, and each counts for as many datagrams as it
// last did while credit came.
//
// Not safe for concurrent use; link.mu guards it.
type window struct {
	base uint64 // as the receiver states it; 0: none
	end  uint64 // the highest number the receiver has seen + 1
	gain float64

	rates [windowRounds]float64 // datagrams per second, of the last rounds
	round int
	began time.Time // of the round under way
	taken uint64    // at its beginning

	heard     uint64  // packets of the peer, when the last credit came
	heardThen uint64  // when the round under way began
	perPacket float64 // datagrams taken for each of them, in the last round

	// To tell what the receiver's stack dropped from what the network lost:
	// datagrams missing at some time, judged once QUIC has had time to miss
	// them too.
	missing uint64
	judgeAt time.Time
}

// pathState is what QUIC knows of the path.
type pathState struct {
	minRTT, smoothedRTT time.Duration
	lost                uint64 // packets of ours, since the beginning
	heard               uint64 // packets of the peer's, since the beginning
	room                uint64 // the congestion window, in full datagrams
}

func (p pathState) near() bool { return p.minRTT < nearPath }

// open begins with the window that the peer's SETTINGS state. Credit may have
// come before them.
func (w *window) open(base uint64) (limit uint64) {
	w.base, w.gain = base, 2
	return w.limit(pathState{})
}

// credit takes a credit, and returns the number from which on messages wait.
func (w *window) credit(now time.Time, end, taken uint64, p pathState) (limit uint64) {
	w.end = max(w.end, end)
	w.heard = p.heard
	w.judge(now, end-taken, p)
	taken = max(taken, w.taken) // a credit that another with the same end has overtaken
	switch round := now.Sub(w.began); {
	case w.began.IsZero():
		w.began, w.taken, w.heardThen = now, taken, p.heard
	case round >= max(p.minRTT, minRound):
		w.rates[w.round%windowRounds] = float64(taken-w.taken) / round.Seconds()
		w.round++
		w.perPacket = float64(taken-w.taken) / float64(max(1, p.heard-w.heardThen))
		w.began, w.taken, w.heardThen = now, taken, p.heard
	}
	return w.limit(p)
}

// judge looks whether datagrams are missing that QUIC has not found lost.
func (w *window) judge(now time.Time, missing uint64, p pathState) {
	if w.judgeAt.IsZero() {
		w.missing, w.judgeAt = missing, now.Add(p.smoothedRTT*5/4)
		return
	}
	if now.Before(w.judgeAt) {
		return
	}
	if min(w.missing, missing) > p.lost {
		w.gain = 1
	}
	w.judgeAt = time.Time{}
}

// limit returns the number from which on messages wait. It grows between
// credits while the peer's packets come.
func (w *window) limit(p pathState) uint64 {
	if w.base == 0 {
		return 0
	}
	held := 0.0
	if !p.near() {
		best := 0.0
		for _, r := range w.rates {
			best = max(best, r)
		}
		held = w.gain * best * p.minRTT.Seconds()
		if w.gain > 1 {
			held = max(held, float64(p.room))
		}
		held += w.perPacket * float64(p.heard-min(w.heard, p.heard))
	}
	return w.end + w.base + uint64(held)
}

// stall is how long messages have waited for credit. The zero value is that of
// messages that have not waited. Not safe for concurrent use: the pump owns it.
type stall struct {
	end   uint64    // what the last credit covered when they began to wait
	since time.Time // when that was, or when credit was last asked for
	times int       // how often it was
}

// due returns when credit is to be asked for: a probe timeout after the wait
// began, unless credit came meanwhile and covers more. Whatever else wakes the
// pump does not put that off.
func (s *stall) due(now time.Time, end uint64, pto time.Duration) time.Time {
	if s.since.IsZero() || s.end != end {
		*s = stall{end: end, since: now}
	}
	return s.since.Add(pto)
}

// ask notes that nothing has come, and reports whether to ask for credit, or,
// the third time, to go on regardless.
func (s *stall) ask(now time.Time) bool {
	s.since = now
	s.times++
	return s.times < maxStalls
}
