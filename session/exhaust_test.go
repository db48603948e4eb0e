package session

import (
	"flag"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var exhaustFull = flag.Bool("exhaust.full", false, "TestExhaust walks to far larger bounds, for minutes")

// TestExhaust walks every state that two machines can reach within bounds, in
// every order of everything that can happen there, and checks all promises in
// each. Nothing is sampled and there is no limit on depth: a walk ends when
// there is no state left. A failure prints the shortest way to it.
//
// The states of a walk form a graph without circles, which is checked as well:
// so no history goes on for ever, and as each that has come to rest has ended,
// every call ends.
func TestExhaust(t *testing.T) {
	reached := make(map[meeting]bool)
	var states, transitions, walks int
	for _, b := range exhaustBounds() {
		t.Run(b.String(), func(t *testing.T) {
			md, start := &model{cast: newCast(), bounds: b}, time.Now()
			g, err := md.walk()
			if err != nil {
				t.Fatalf("%v\n%s", err, strings.Join(md.tell(g.history()), "\n"))
			}
			t.Logf("%d states, %d transitions, %d states at rest, up to %d events away; %d machines; %v", len(g.worlds), len(g.next), g.rests, g.depth,
				len(md.machines), time.Since(start).Round(time.Millisecond))
			require.NotZero(t, g.rests, "nothing ever ends")
			walks, states, transitions = walks+1, states+len(g.worlds), transitions+len(g.next)
			for what := range md.reached {
				reached[what] = true
			}
		})
		if t.Failed() {
			return // the others would fail in longer ways
		}
	}
	t.Logf("%d walks in all: %d states, %d transitions", walks, states, transitions)
	if walks == len(exhaustBounds()) { // not if -run has picked some
		require.Equal(t, allMeetings, describeMeetings(reached), "the walks were not where they were meant to be")
	}
}

// allMeetings is what a machine can meet between two sides that keep the
// protocol, by where it stands.
var allMeetings = map[string]string{
	"new":                            "OPEN, RESET_STREAM, STOP_SENDING, abort, link lost, start, timer",
	"opening":                        "ACCEPT, REJECT, RESET_STREAM, STOP_SENDING, abort, close, link lost, start",
	"incoming":                       "CLOSE, RESET_STREAM, STOP_SENDING, accept, link lost, reject",
	"open":                           "CLOSE, REPORT, RESET_STREAM, SIGNAL, SIGNAL_ACK, STOP_SENDING, abort, close, link lost, report, signal, signal taken",
	"closing":                        "ACCEPT, CLOSE, REJECT, REPORT, RESET_STREAM, SIGNAL, SIGNAL_ACK, STOP_SENDING, abort, flushed, link lost, signal taken, timer",
	"closing, sent":                  "ACCEPT, CLOSE, CLOSE_ACK, REJECT, REPORT, RESET_STREAM, SIGNAL, SIGNAL_ACK, STOP_SENDING, abort, link lost, signal taken, timer",
	"closing, acknowledged":          "FIN, RESET_STREAM, STOP_SENDING, abort, link lost, settled, signal taken, timer",
	"closing, crossed":               "RESET_STREAM, SIGNAL_ACK, STOP_SENDING, abort, flushed, link lost, settled, signal taken, timer",
	"closing, crossed, sent":         "CLOSE_ACK, RESET_STREAM, SIGNAL_ACK, STOP_SENDING, abort, link lost, settled, signal taken, timer",
	"closing, crossed, acknowledged": "RESET_STREAM, STOP_SENDING, abort, link lost, settled, signal taken, timer",
	"draining":                       "RESET_STREAM, SIGNAL_ACK, STOP_SENDING, abort, link lost, settled, signal taken, timer",
	"draining, done":                 "DONE, RESET_STREAM, SIGNAL_ACK, STOP_SENDING, abort, link lost, signal taken, timer",
	"closed":                         "CLOSE, FIN, RESET_STREAM, STOP_SENDING, abort, link lost, signal taken, timer",
}

func describeMeetings(reached map[meeting]bool) map[string]string {
	names := make(map[string][]string)
	for m := range reached {
		names[m.phase] = append(names[m.phase], m.String())
	}
	lists := make(map[string]string)
	for phase, what := range names {
		slices.Sort(what)
		lists[phase] = strings.Join(what, ", ")
	}
	return lists
}

// String lists what may happen.
func (b bounds) String() string {
	s := fmt.Sprintf("messages %d, signals %d, reports %d", b.messages, b.signals, b.reports)
	for _, may := range []struct {
		happen bool
		name   string
	}{
		{b.reject, "reject"}, {b.giveUp, "give up"}, {b.aborts, "abort"}, {b.timers, "time"}, {b.loss, "lost link"},
		{b.crash, "crash"}, {b.idle, "idle link"}, {b.sessions > 1, "second session"},
	} {
		if may.happen {
			s += ", " + may.name
		}
	}
	return s
}

// orderly are bounds within which nothing goes wrong.
func orderly(messages, signals, reports int) bounds {
	return bounds{messages: messages, signals: signals, reports: reports, credit: 1, reject: true, sessions: 1}
}

// rough are bounds within which anything may go wrong, except that deadlines
// are left alone: none is needed.
func rough(messages, signals, reports int) bounds {
	b := orderly(messages, signals, reports)
	b.giveUp, b.aborts, b.loss, b.crash, b.idle = true, true, true, true, true
	return b
}

// timed lets time pass, too.
func timed(b bounds) bounds { b.timers = true; return b }

// again lets a second session follow, on a new link.
func again(b bounds) bounds { b.sessions = 2; return b }

// exhaustBounds are those of TestExhaust: small ones first, for they soon find
// what is badly broken.
func exhaustBounds() []bounds {
	switch {
	case *exhaustFull:
		return []bounds{
			orderly(5, 0, 0), orderly(0, 5, 0), orderly(3, 1, 0), orderly(1, 3, 0), orderly(2, 2, 0), orderly(1, 1, 2),
			rough(2, 1, 0), rough(1, 2, 0), timed(rough(3, 0, 0)), timed(rough(0, 3, 0)), timed(rough(0, 1, 1)), timed(rough(1, 0, 1)),
			timed(again(rough(1, 1, 0))), timed(rough(1, 2, 0)), timed(rough(2, 1, 0)),
		}
	case raceDetector:
		return []bounds{
			orderly(0, 0, 0), orderly(1, 0, 0), orderly(0, 1, 1),
			rough(0, 1, 0), timed(again(rough(1, 0, 0))), timed(rough(0, 1, 0)),
		}
	}
	return []bounds{
		orderly(0, 0, 0), timed(rough(0, 0, 0)), orderly(2, 0, 0), orderly(0, 2, 0), orderly(1, 1, 0), orderly(0, 1, 1), orderly(1, 0, 1),
		rough(1, 0, 0), rough(0, 2, 0), timed(again(rough(1, 0, 0))), timed(rough(0, 1, 0)), timed(rough(2, 0, 0)),
	}
}
