package main

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/oneportnet/quicpeer/datagram"
	"github.com/oneportnet/quicpeer/session"
)

// testLogs are hand-made logs of two processes, and of the coordinator: process
// 0 dials process 1, sends two messages of which one arrives and one gets lost,
// has a signal taken, and closes.
type testLogs struct{ coordinator, dialer, acceptor []event }

const sec = 1_000_000 // microseconds

const testID = "0.0.7"

// tickTest is how often the processes of the tests tick.
const tickTest = sec / 4

func goodLogs() *testLogs {
	byOpener := &outcome{Class: cSession, Cause: "closed", Code: 0x123, Reason: "enough", Confirmed: true, Text: "closed by this side"}
	byPeer := &outcome{Class: cSession, Cause: "closed", Code: 0x123, Reason: "enough", Remote: true, Confirmed: true, Text: "closed by the peer"}
	mine := &session.Stats{Complete: true, Lost: 1,
		Local: datagram.Counts{Pushed: 2, Sent: 2}, Remote: session.Tally{Received: 1}}
	theirs := &session.Stats{Complete: true, LostIncoming: 1,
		Local: datagram.Counts{Received: 1}, Remote: session.Tally{Sent: 2}}
	quiet := &rest{Goroutines: 5, BaseGoroutines: 5, Files: 7, BaseFiles: 7}
	l := &testLogs{
		coordinator: []event{{T: 0, P: 0, K: kStart}, {T: 0, P: 1, K: kStart}, {T: 9 * sec, P: 0, K: kTell}, {T: 9 * sec, P: 1, K: kTell}},
		dialer: []event{
			{T: 1000, K: kListen, Peer: "anna"},
			{T: 1 * sec, K: kBegin, Call: 1, Op: opDial, Limit: 5 * sec, N: []uint64{1, 0}},
			{T: 1*sec + 300, K: kEnd, Call: 1, Op: opDial, Peer: "bert"},
			{T: 2 * sec, K: kBegin, Call: 2, Op: opReceive},
			{T: 2*sec + 100, K: kBegin, Call: 3, Op: opSend, Limit: sec, N: []uint64{0, 2}},
			{T: 2*sec + 200, K: kEnd, Call: 3, Op: opSend, N: []uint64{0, 2}},
			{T: 2*sec + 300, K: kBegin, Call: 4, Op: opSignal, Limit: sec, N: []uint64{0}},
			{T: 2*sec + 700, K: kEnd, Call: 4, Op: opSignal},
			{T: 3 * sec, K: kBegin, Call: 5, Op: opClose, Limit: sec, Code: 0x123, Reason: "enough"},
			{T: 3*sec + 500, K: kEnd, Call: 5, Op: opClose},
			{T: 3*sec + 600, K: kEnd, Call: 2, Op: opReceive, Err: byOpener},
			{T: 3*sec + 700, K: kAgain, Op: opReceive, Err: byOpener},
			{T: 3*sec + 800, K: kFinal, Err: byOpener, Stats: mine},
			{T: 9*sec + 1, K: kRest, Rest: quiet},
			{T: 9*sec + 2, K: kBye},
		},
		acceptor: []event{
			{T: 1000, K: kListen, Peer: "bert"},
			{T: 1*sec + 100, K: kIn, Peer: "anna"},
			{T: 1*sec + 200, K: kBegin, Call: 1, Op: opAccept, Limit: 1},
			{T: 1*sec + 250, K: kEnd, Call: 1, Op: opAccept},
			{T: 1*sec + 300, K: kBegin, Call: 2, Op: opReceive},
			{T: 1*sec + 310, K: kBegin, Call: 3, Op: opReceiveSignal},
			{T: 2*sec + 400, K: kGot, Op: opReceive, N: []uint64{1}},
			{T: 2*sec + 500, K: kEnd, Call: 3, Op: opReceiveSignal, N: []uint64{0}},
			{T: 3*sec + 400, K: kEnd, Call: 2, Op: opReceive, Err: byPeer},
			{T: 3*sec + 450, K: kFinal, Err: byPeer, Stats: theirs},
			{T: 9*sec + 1, K: kRest, Rest: quiet},
			{T: 9*sec + 2, K: kBye},
		},
	}
	ofSession := func(log []event, p int, role string) []event {
		for i := range log {
			log[i].P = p
			switch log[i].K {
			case kListen, kRest, kBye:
			default:
				log[i].Session, log[i].Role = testID, role
			}
		}
		for t := int64(tickTest); t < 9*sec; t += tickTest {
			log = append(log, event{T: t, P: p, K: kTick})
		}
		slices.SortStableFunc(log, func(a, b event) int { return int(a.T - b.T) })
		return log
	}
	l.dialer, l.acceptor = ofSession(l.dialer, 0, roleOpener), ofSession(l.acceptor, 1, roleAcceptor)
	return l
}

func (l *testLogs) check() *verdict { return check(newHistory(l.coordinator, l.dialer, l.acceptor)) }

// one returns an event, to be changed.
func one(log []event, kind, op string) *event {
	return &log[slices.IndexFunc(log, func(e event) bool { return e.K == kind && (op == "" || e.Op == op) })]
}

// without returns a log without some events.
func without(log []event, kind, op string) []event {
	return slices.DeleteFunc(log, func(e event) bool { return e.K == kind && (op == "" || e.Op == op) })
}

// until cuts a log off at a time.
func until(log []event, t int64) []event {
	return slices.DeleteFunc(log, func(e event) bool { return e.T > t })
}

// quietly adds ticks to a log, for a process that lives longer.
func quietly(log []event, p int, from, to int64) []event {
	for t := from; t <= to; t += tickTest {
		log = append(log, event{T: t, P: p, K: kTick})
	}
	return log
}

func TestGoodLogsAreGood(t *testing.T) {
	v := goodLogs().check()
	require.Empty(t, v.Breaches)
	for _, p := range []string{pProcess, pRest, pCalls, pCause, pClose, pWho, pOwn, pStats, pSums, pMessages, pSignals, pTaken, pDial, pIdentity} {
		require.NotZero(t, v.of(p).Checked, "%s", p)
		require.Zero(t, v.of(p).Excused, "%s", p)
	}
	require.Equal(t, 1, v.Figures["closes confirmed"])
	require.Equal(t, 1, v.Figures["messages lost, by complete counts"])
}

// endBoth has the session end for both in another way.
func endBoth(l *testLogs, o *outcome) {
	for _, log := range [][]event{l.dialer, l.acceptor} {
		for i := range log {
			if e := &log[i]; e.Err != nil {
				e.Err = o
			}
		}
		one(log, kFinal, "").Stats = &session.Stats{Local: one(log, kFinal, "").Stats.Local}
	}
	l.dialer = without(without(l.dialer, kBegin, opClose), kEnd, opClose)
}

// Every check fails on a log that breaks its promise.
func TestBrokenLogsAreBroken(t *testing.T) {
	lost := &outcome{Class: cSession, Cause: "link lost", Text: "link lost"}
	for _, c := range []struct {
		what    string
		promise string
		spoil   func(*testLogs)
	}{
		{"a process dies", pProcess, func(l *testLogs) {
			l.coordinator = append(l.coordinator, event{T: 5 * sec, P: 1, K: kDead, Text: "exit status 2"})
		}},
		{"a process never ends", pProcess, func(l *testLogs) { l.acceptor = until(l.acceptor, 8*sec) }},
		{"a goroutine is left", pRest, func(l *testLogs) {
			one(l.dialer, kRest, "").Rest = &rest{Goroutines: 6, BaseGoroutines: 5}
		}},
		{"a file is left", pRest, func(l *testLogs) { one(l.dialer, kRest, "").Rest = &rest{Files: 8, BaseFiles: 7} }},
		{"memory is left", pRest, func(l *testLogs) { one(l.dialer, kRest, "").Rest = &rest{Heap: 40 << 20} }},
		{"a call takes too long", pCalls, func(l *testLogs) { one(l.dialer, kBegin, opSignal).Limit = -5 * sec }},
		{"a call does not return", pCalls, func(l *testLogs) { l.dialer = without(l.dialer, kEnd, opSignal) }},
		{"a call does not return before a late kill", pCalls, func(l *testLogs) {
			l.dialer = until(without(l.dialer, kEnd, opSignal), 8*sec)
			l.coordinator = append(l.coordinator, event{T: 8 * sec, P: 0, K: kKill})
		}},
		{"two causes", pCause, func(l *testLogs) { one(l.acceptor, kEnd, opReceive).Err = lost }},
		{"no cause", pCause, func(l *testLogs) { one(l.acceptor, kFinal, "").Err = nil }},
		{"another cause afterwards", pCause, func(l *testLogs) { one(l.dialer, kAgain, opReceive).Err = nil }},
		{"a call ends with the session, and does not say how", pCause, func(l *testLogs) {
			one(l.acceptor, kEnd, opReceive).Err = &outcome{Class: cOther, Text: "oops"}
		}},
		{"the peer has another code", pClose, func(l *testLogs) {
			f := *one(l.acceptor, kFinal, "").Err
			f.Code = 0x124
			one(l.acceptor, kFinal, "").Err = &f
		}},
		{"the peer has another reason", pClose, func(l *testLogs) {
			f := *one(l.acceptor, kFinal, "").Err
			f.Reason = ""
			one(l.acceptor, kFinal, "").Err = &f
		}},
		{"the peer's session is lost", pClose, func(l *testLogs) { one(l.acceptor, kFinal, "").Err = lost }},
		{"the peer says that it closed, and did not", pClose, func(l *testLogs) {
			f := *one(l.acceptor, kFinal, "").Err
			f.Remote = false
			one(l.acceptor, kFinal, "").Err = &f
		}},
		{"the peer's application is told nothing", pClose, func(l *testLogs) { l.acceptor = without(l.acceptor, kFinal, "") }},
		{"the peer's application is told nothing for long, and then killed", pClose, func(l *testLogs) {
			l.acceptor = quietly(until(without(l.acceptor, kFinal, ""), 8*sec), 1, 8*sec, 20*sec)
			l.coordinator = append(l.coordinator, event{T: 20 * sec, P: 1, K: kKill})
		}},
		{"a close fails with another error", pClose, func(l *testLogs) {
			one(l.dialer, kEnd, opClose).Err = &outcome{Class: cOther, Text: "oops"}
		}},
		{"a shutdown is confirmed by a session that was lost", pShutdown, func(l *testLogs) {
			one(l.acceptor, kFinal, "").Err = lost
			l.dialer = append(l.dialer, event{T: 9 * sec, K: kReport, Session: testID, Role: roleOpener})
		}},
		{"a shutdown is confirmed, and the peer has another code", pShutdown, func(l *testLogs) {
			f := *one(l.acceptor, kFinal, "").Err
			f.Code = 0x124
			one(l.acceptor, kFinal, "").Err = &f
			l.dialer = append(l.dialer, event{T: 9 * sec, K: kReport, Session: testID, Role: roleOpener})
		}},
		{"closed by a peer that did not close", pWho, func(l *testLogs) { l.dialer = without(without(l.dialer, kBegin, opClose), kEnd, opClose) }},
		{"closed by this side, which did not close", pOwn, func(l *testLogs) { l.dialer = without(without(l.dialer, kBegin, opClose), kEnd, opClose) }},
		{"a violation", pWho, func(l *testLogs) {
			endBoth(l, &outcome{Class: cSession, Cause: "protocol violation", Text: "violation"})
		}},
		{"a link is lost, and nothing has happened", pLink, func(l *testLogs) { endBoth(l, lost) }},
		{"a peer is said to have restarted, and was only stopped", pLink, func(l *testLogs) {
			endBoth(l, &outcome{Class: cSession, Cause: "peer restarted", Remote: true, Text: "peer restarted"})
			l.coordinator = append(l.coordinator, event{T: 2 * sec, P: 1, K: kStop}, event{T: 3 * sec, P: 1, K: kCont})
		}},
		{"a dial's link is lost, and nothing has happened", pLink, func(l *testLogs) {
			one(l.dialer, kEnd, opDial).Err = &outcome{Class: cUnknown, Text: "unknown"}
		}},
		{"counts differ", pStats, func(l *testLogs) { one(l.acceptor, kFinal, "").Stats.Local.Received = 2 }},
		{"losses differ", pStats, func(l *testLogs) { one(l.acceptor, kFinal, "").Stats.LostIncoming = 0 }},
		{"more was received than sent", pStats, func(l *testLogs) {
			s := one(l.acceptor, kFinal, "").Stats
			s.Local.Received, one(l.dialer, kFinal, "").Stats.Remote.Received = 3, 3
		}},
		{"a message taken is not counted", pSums, func(l *testLogs) { one(l.dialer, kFinal, "").Stats.Local.Pushed = 1 }},
		{"a message is neither sent nor dropped", pSums, func(l *testLogs) { one(l.dialer, kFinal, "").Stats.Local.Sent = 1 }},
		{"a message received is not counted", pSums, func(l *testLogs) { one(l.acceptor, kFinal, "").Stats.Local.Received = 0 }},
		{"a drop has no reason", pSums, func(l *testLogs) {
			n := &one(l.acceptor, kFinal, "").Stats.Local
			n.Received, n.Dropped = 2, 1
		}},
		{"a message is altered", pMessages, func(l *testLogs) { one(l.acceptor, kGot, "").K = kBad }},
		{"a message comes twice", pMessages, func(l *testLogs) { one(l.acceptor, kGot, "").N = []uint64{1, 1} }},
		{"a message comes that was not sent", pMessages, func(l *testLogs) { one(l.acceptor, kGot, "").N = []uint64{2} }},
		{"a message comes that Send did not take", pMessages, func(l *testLogs) { one(l.dialer, kEnd, opSend).N = []uint64{0, 1} }},
		{"a signal comes that was not sent", pSignals, func(l *testLogs) { one(l.acceptor, kEnd, opReceiveSignal).N = []uint64{1} }},
		{"a signal comes twice", pSignals, func(l *testLogs) {
			l.acceptor = append(l.acceptor,
				event{T: 9 * sec, P: 1, K: kBegin, Call: 4, Op: opReceiveSignal, Session: testID, Role: roleAcceptor},
				event{T: 9 * sec, P: 1, K: kEnd, Call: 4, Op: opReceiveSignal, Session: testID, Role: roleAcceptor, N: []uint64{0}})
		}},
		{"a signal is confirmed, and nobody has taken it", pTaken, func(l *testLogs) {
			l.acceptor = without(without(l.acceptor, kBegin, opReceiveSignal), kEnd, opReceiveSignal)
		}},
		{"a signal is taken that was not sent, they said", pNotSent, func(l *testLogs) {
			one(l.dialer, kEnd, opSignal).Err = &outcome{Class: cNotSent, Text: "not sent"}
		}},
		{"Dial returns, and nobody has accepted", pDial, func(l *testLogs) { l.acceptor = without(without(l.acceptor, kBegin, opAccept), kEnd, opAccept) }},
		{"two accept", pDial, func(l *testLogs) {
			l.acceptor = append(l.acceptor,
				event{T: 9 * sec, P: 1, E: 1, K: kBegin, Call: 9, Op: opAccept, Session: testID, Role: roleAcceptor},
				event{T: 9 * sec, P: 1, E: 1, K: kEnd, Call: 9, Op: opAccept, Session: testID, Role: roleAcceptor})
		}},
		{"an open is shown again", pDial, func(l *testLogs) {
			l.acceptor = append(l.acceptor, event{T: 9 * sec, P: 1, K: kIn, Peer: "anna", Session: testID, Role: roleAcceptor})
		}},
		{"not acted on, and accepted", pNotActed, func(l *testLogs) {
			one(l.dialer, kEnd, opDial).Err = &outcome{Class: cNotActed, Text: "not acted on"}
		}},
		{"refused, and accepted", pNotActed, func(l *testLogs) {
			one(l.dialer, kEnd, opDial).Err = &outcome{Class: cRefused, Text: "refused"}
		}},
		{"busy, and shown to the application", pNotActed, func(l *testLogs) {
			one(l.dialer, kEnd, opDial).Err = &outcome{Class: cSession, Cause: "rejected", Code: 3, Remote: true, Text: "busy"}
			l.acceptor = without(without(l.acceptor, kBegin, opAccept), kEnd, opAccept)
		}},
		{"going away, and shown to the application", pNotActed, func(l *testLogs) {
			one(l.dialer, kEnd, opDial).Err = &outcome{Class: cSession, Cause: "rejected", Code: 5, Remote: true, Text: "going away"}
			l.acceptor = without(without(l.acceptor, kBegin, opAccept), kEnd, opAccept)
		}},
		{"rejected, and nobody has", pRejected, func(l *testLogs) {
			one(l.dialer, kEnd, opDial).Err = &outcome{Class: cSession, Cause: "rejected", Code: 0x200, Remote: true, Text: "rejected"}
			l.acceptor = without(without(l.acceptor, kBegin, opAccept), kEnd, opAccept)
		}},
		{"rejected as at a shutdown, and there is none", pRejected, func(l *testLogs) {
			one(l.dialer, kEnd, opDial).Err = &outcome{Class: cSession, Cause: "rejected", Code: 8, Remote: true, Text: "shutting down"}
			l.acceptor = without(without(l.acceptor, kBegin, opAccept), kEnd, opAccept)
		}},
		{"the acceptor shows another id", pIdentity, func(l *testLogs) { one(l.dialer, kEnd, opDial).Peer = "carl" }},
		{"the opener shows another id", pIdentity, func(l *testLogs) { one(l.acceptor, kIn, "").Peer = "carl" }},
		{"a kill is not noticed", pNoticed, func(l *testLogs) {
			l.acceptor = until(l.acceptor, 2*sec+600)
			l.coordinator = append(l.coordinator, event{T: 2*sec + 600, P: 1, K: kKill})
			l.dialer = quietly(until(l.dialer, 2*sec+800), 0, 2*sec+tickTest, 40*sec)
		}},
		{"a long stop is not noticed by the one who was stopped", pNoticed, func(l *testLogs) {
			l.coordinator = append(l.coordinator, event{T: 2*sec + 600, P: 1, K: kStop}, event{T: 32 * sec, P: 1, K: kCont})
			l.acceptor = quietly(until(l.acceptor, 2*sec+600), 1, 32*sec, 60*sec)
			l.dialer = quietly(l.dialer, 0, 9*sec, 60*sec)
		}},
		{"a short stop ends a session", pShort, func(l *testLogs) {
			endBoth(l, lost)
			l.coordinator = append(l.coordinator, event{T: 2*sec + 600, P: 1, K: kStop}, event{T: 4 * sec, P: 1, K: kCont})
			for _, kind := range []string{kFinal, kEnd} {
				e := one(l.acceptor, kind, map[string]string{kEnd: opReceive}[kind])
				e.T = 5 * sec
			}
			slices.SortStableFunc(l.acceptor, func(a, b event) int { return int(a.T - b.T) })
		}},
	} {
		t.Run(c.what, func(t *testing.T) {
			l := goodLogs()
			c.spoil(l)
			v := l.check()
			require.NotZero(t, v.of(c.promise).Broken, "%q is not found broken, but %+v", c.promise, v.Breaches)
		})
	}
}

// What follows from nothing is excused, and counted as such.
func TestWitnessesThatAreKilledAreExcused(t *testing.T) {
	l := goodLogs()
	l.acceptor = until(l.acceptor, 3*sec+300) // CLOSE_ACK is sent, and nothing logged
	l.coordinator = append(l.coordinator, event{T: 3*sec + 550, P: 1, K: kKill})
	v := l.check()
	require.Empty(t, v.Breaches)
	require.Equal(t, tally{Excused: 1}, *v.of(pClose))
	require.NotZero(t, v.of(pCalls).Excused)

	l = goodLogs()
	l.acceptor = until(l.acceptor, 2*sec+450) // the signal is taken, and not logged
	l.coordinator = append(l.coordinator, event{T: 2*sec + 650, P: 1, K: kKill})
	v = l.check()
	require.Empty(t, v.Breaches)
	require.Equal(t, tally{Excused: 1}, *v.of(pTaken))
}

func TestCrossedClosesKeepEachItsOwn(t *testing.T) {
	l := goodLogs()
	own := &outcome{Class: cSession, Cause: "closed", Code: 0x777, Reason: "me too", Confirmed: true, Text: "closed by this side"}
	one(l.acceptor, kEnd, opReceive).Err, one(l.acceptor, kFinal, "").Err = own, own
	require.NotZero(t, l.check().of(pClose).Broken, "the acceptor has not closed")
	begin := event{T: 3 * sec, P: 1, K: kBegin, Call: 4, Op: opClose, Limit: sec, Code: 0x777, Reason: "me too", Session: testID, Role: roleAcceptor}
	end := event{T: 3*sec + 440, P: 1, K: kEnd, Call: 4, Op: opClose, Session: testID, Role: roleAcceptor}
	l.acceptor = append(l.acceptor, begin, end)
	slices.SortStableFunc(l.acceptor, func(a, b event) int { return int(a.T - b.T) })
	v := l.check()
	require.Empty(t, v.Breaches)
	require.Equal(t, 2, v.Figures["crossed closes"])
}

// A restart explains the end of a link, and a process without a processor a
// call that takes long.
func TestFaultsExplainWhatFollowsFromThem(t *testing.T) {
	l := goodLogs()
	restarted := &outcome{Class: cSession, Cause: "peer restarted", Remote: true, Text: "peer restarted"}
	for i := range l.dialer {
		if l.dialer[i].Err != nil {
			l.dialer[i].Err = restarted
		}
	}
	one(l.dialer, kFinal, "").Stats = &session.Stats{Local: datagram.Counts{Pushed: 2, Sent: 2}}
	l.dialer = without(without(l.dialer, kBegin, opClose), kEnd, opClose)
	l.acceptor = until(l.acceptor, 2*sec+800)
	l.coordinator = append(l.coordinator, event{T: 2*sec + 800, P: 1, K: kKill}, event{T: 3 * sec, P: 1, G: 1, K: kStart})
	back := []event{{T: 3*sec + 100, P: 1, G: 1, K: kListen, Peer: "bert"}, {T: 9 * sec, P: 1, G: 1, K: kRest, Rest: &rest{}}, {T: 9 * sec, P: 1, G: 1, K: kBye}}
	v := check(newHistory(l.coordinator, l.dialer, l.acceptor, back))
	require.Empty(t, v.Breaches)
	require.NotZero(t, v.of(pLink).Checked)
	require.Equal(t, tally{Checked: 1}, *v.of(pNoticed))

	l = goodLogs()
	l.dialer = slices.DeleteFunc(l.dialer, func(e event) bool { return e.K == kTick && e.T > 3*sec && e.T < 8*sec })
	for i := range l.dialer {
		if e := &l.dialer[i]; e.T > 3*sec && e.T < 4*sec {
			e.T += 4 * sec
		}
	}
	v = l.check()
	require.Empty(t, v.Breaches)
	require.Equal(t, 1, v.Figures["times a process got no turn for half a second"])
}

// A kill between the beginning of Accept and its end leaves open which came of
// it.
func TestAcceptCutOffExcuses(t *testing.T) {
	l := goodLogs()
	one(l.dialer, kEnd, opDial).Err = &outcome{Class: cNotActed, Text: "not acted on"}
	require.NotZero(t, l.check().of(pNotActed).Broken)
	l.acceptor = without(l.acceptor, kEnd, opAccept)
	require.Equal(t, tally{Excused: 1}, *l.check().of(pNotActed))
}

// An endpoint that is going away rejects for itself. Dial tries again unseen, if
// there is time for that.
func TestGoingAwayIsNoApplications(t *testing.T) {
	l := goodLogs()
	rejected := *one(l.dialer, kEnd, opDial)
	rejected.Err = &outcome{Class: cSession, Cause: "rejected", Code: 5, Remote: true, Text: "going away"}
	l.dialer = []event{*one(l.dialer, kListen, ""), *one(l.dialer, kBegin, opDial), rejected, *one(l.dialer, kRest, ""), *one(l.dialer, kBye, "")}
	l.acceptor = []event{*one(l.acceptor, kListen, ""), *one(l.acceptor, kRest, ""), *one(l.acceptor, kBye, "")}
	v := l.check()
	require.Empty(t, v.Breaches)
	require.NotZero(t, v.of(pNotActed).Checked)
}

// Heartbeats are lost like everything else.
func TestLossExcusesLostLinks(t *testing.T) {
	l := goodLogs()
	one(l.dialer, kEnd, opDial).Err = &outcome{Class: cUnknown, Text: "unknown"}
	require.NotZero(t, l.check().of(pLink).Broken)
	one(l.acceptor, kListen, "").Loss = 0.01
	require.Equal(t, tally{Excused: 1}, *l.check().of(pLink))

	l = goodLogs()
	endBoth(l, &outcome{Class: cSession, Cause: "link lost", Text: "link lost"})
	one(l.acceptor, kListen, "").Loss = 0.05
	one(l.dialer, kListen, "").Loss = 0.05
	require.Equal(t, 2, l.check().of(pLink).Broken, "not of so little")
	one(l.acceptor, kListen, "").Loss = 0.1
	require.Equal(t, tally{Excused: 2}, *l.check().of(pLink))
}

func TestSilenceIsStopsStallsAndDeath(t *testing.T) {
	l := &life{last: 20 * sec, stops: []span{{2 * sec, 4 * sec}}, stalls: []span{{10 * sec, 11 * sec}}}
	for _, c := range []struct{ from, to, want int64 }{
		{0, 1, 0}, {0, 3, 1}, {3, 30, 12}, {0, 20, 3}, {21, 25, 4},
	} {
		require.Equal(t, c.want*sec, l.silence(c.from*sec, c.to*sec), "from %d to %d", c.from, c.to)
	}
}

// The last line of a process that was killed may be cut off; no other may.
func TestLogsMayEndInTheMiddleOfALine(t *testing.T) {
	file := filepath.Join(t.TempDir(), "log")
	j, err := newJournal(file, time.Now(), 1, 0)
	require.NoError(t, err)
	j.write(event{K: kTick})
	j.write(event{K: kBye})
	require.NoError(t, j.close())
	whole, err := os.ReadFile(file)
	require.NoError(t, err)
	read := func(log []byte) (kinds []string, err error) {
		require.NoError(t, os.WriteFile(file, log, 0o600))
		err = readEvents(file, func(e event) { kinds = append(kinds, e.K) })
		return kinds, err
	}
	kinds, err := read(whole)
	require.NoError(t, err)
	require.Equal(t, []string{kTick, kBye}, kinds)
	kinds, err = read(whole[:len(whole)-5])
	require.NoError(t, err)
	require.Equal(t, []string{kTick}, kinds)
	_, err = read(whole[5:])
	require.ErrorContains(t, err, "line 1")
}

func TestPayloadsTellWhatTheyAre(t *testing.T) {
	for _, size := range []int{0, 20, 2000} {
		b := makePayload("1.2.3", roleOpener, 77, size)
		require.GreaterOrEqual(t, len(b), size)
		n, err := readPayload(b, "1.2.3", roleOpener)
		require.NoError(t, err)
		require.Equal(t, uint64(77), n)
		for _, other := range [][2]string{{"1.2.3", roleAcceptor}, {"1.2.4", roleOpener}, {"1.2", roleOpener}} {
			_, err = readPayload(b, other[0], other[1])
			require.ErrorContains(t, err, "another session")
		}
		for i := range b {
			b[i] ^= 1
			_, err = readPayload(b, "1.2.3", roleOpener)
			require.ErrorContains(t, err, "altered")
			b[i] ^= 1
		}
	}
}

func TestPlansFollowFromTheSeedAlone(t *testing.T) {
	s := shape{Seed: 7, Round: 75 * time.Second, Processes: 4, Endpoints: 3, Pace: 500 * time.Millisecond, Long: true}
	other := s
	other.Seed = 8
	faults := 0
	for p := range s.Processes {
		require.Equal(t, s.faults(p), s.faults(p))
		last := time.Duration(0)
		for _, f := range s.faults(p) {
			require.Greater(t, f.At, last, "faults of a process do not overlap")
			last = f.At + f.For
			require.LessOrEqual(t, last, s.Round)
			if f.Kind == kStop {
				require.True(t, f.For <= shortStopMax || f.For >= longStop, "%v: neither surely noticed nor surely not", f.For)
			}
			faults++
		}
		for e := range s.Endpoints {
			require.Equal(t, s.dialings(p, e), s.dialings(p, e))
			require.NotEqual(t, s.dialings(p, e), other.dialings(p, e))
			for i, d := range s.dialings(p, e) {
				require.False(t, d.Process == p && d.Endpoint == e, "nobody dials itself")
				require.True(t, i == 0 || d.Session != s.dialings(p, e)[i-1].Session)
				require.Equal(t, s.script(d.Session), s.script(d.Session))
			}
		}
	}
	require.Empty(t, s.faults(0), "the first process observes")
	require.NotZero(t, faults)
	s.Long, s.Round = false, 5*time.Second
	for seed := range uint64(100) {
		s.Seed = seed
		for p := range s.Processes {
			for _, f := range s.faults(p) {
				require.Less(t, f.For, longStop)
			}
		}
	}
}
