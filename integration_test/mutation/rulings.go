package main

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// A ruling is one of the rules of session/PROTOCOL.md, "Rules for the corners",
// broken on purpose: in a file, an old text, which is there once, is replaced by
// a new one.
type ruling struct {
	rule     int
	what     string // is true with the break
	file     string // from the module's root
	old, new string
}

// mutant makes the break.
func (r ruling) mutant() (*mutant, error) {
	name := filepath.FromSlash(r.file)
	source, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	if n := strings.Count(string(source), r.old); n != 1 {
		return nil, fmt.Errorf("rule %d, %s: %s has the old text %d times, want once", r.rule, r.what, r.file, n)
	}
	start := strings.Index(string(source), r.old)
	return &mutant{
		File: filepath.Base(name), Line: strings.Count(string(source[:start]), "\n") + 1,
		Func: fmt.Sprintf("rule %d", r.rule), What: r.what,
		path: name, source: source, start: start, end: start + len(r.old), with: r.new,
		tests: r.tests(),
	}, nil
}

// tests are those of the broken package and the simulated ones of whole endpoints;
// first those that bear the rule's number, for most breaks need no others.
func (r ruling) tests() []testRun {
	own, named := path.Dir(r.file), fmt.Sprintf("^TestRule%02d", r.rule)
	all := []testRun{{dir: own}, {dir: "integration_test", run: simulated}}
	switch own {
	case "session":
		return append([]testRun{{dir: own, run: named}, {dir: "integration_test", run: named}}, all...)
	case "quicpeer":
		return append([]testRun{{dir: "integration_test", run: named}}, all...)
	}
	// Datagram and certs have none of these names, and take little time.
	return []testRun{all[0], {dir: "integration_test", run: named}, all[1]}
}

// mutantsOfRulings makes all of them.
func mutantsOfRulings() ([]*mutant, error) {
	var all []*mutant
	for i, r := range rulings {
		m, err := r.mutant()
		if err != nil {
			return nil, err
		}
		m.Number = i + 1
		all = append(all, m)
	}
	return all, nil
}

// rulings are the 17 rules, each broken in two ways or more: what a rule says is
// turned into what somebody might have thought. Every break compiles, and leaves
// the rest as it is.
var rulings = []ruling{
	{1, "early messages are kept for 2 s", "datagram/early.go",
		`earlyTime      = time.Second`,
		`earlyTime      = 2 * time.Second`},
	{1, "early messages are kept without a bound of bytes", "datagram/early.go",
		`b.entries.len() >= earlyDatagrams || b.bytes+len(e.body) > earlyBytes`,
		`b.entries.len() >= earlyDatagrams`},
	{1, "messages of a session that is over are early again", "datagram/handle.go",
		`case r.ours(id) && id < r.ownEnd, !r.ours(id) && id < r.peerEnd:`,
		`case r.ours(id) && id < r.ownEnd:`},
	{1, "a lower stream that is there counts as over once a higher one is", "session/runner.go",
		`	s.link.Mux().Announce(id)
`, ``},
	{1, "what is whole of a malformed bundle is delivered", "datagram/handle.go",
		`if err = checkBundle(body); err == nil {`,
		`if err = checkBundle(body); err == nil || len(body) > 0 {`},
	{1, "a malformed datagram of a session that is not accepted is a violation", "datagram/handle.go",
		`ok && e.HasSession && r.flows[e.Session] != nil {`,
		`ok && e.HasSession && (r.flows[e.Session] != nil || !r.ours(e.Session)) {`},

	{2, "a stream has 20 s for its OPEN", "session/options.go",
		`openTimeout = 10 * time.Second`,
		`openTimeout = 20 * time.Second`},
	{2, "a stream without OPEN is reset with another code", "session/machine.go",
		`		s.violation("no complete OPEN in time")`,
		`		c := Error{Cause: CauseViolation, Code: CodeInternal, Reason: "no complete OPEN in time"}
		s.setCause(c)
		s.tear(CodeInternal, c)`},

	{3, "a dialer that gives up resets the stream", "session/runner.go",
		`s.startClose(CodeCancelled, "the dialer gave up", time.Now().Add(s.opts.closeTimeout()))`,
		`s.stepLocked(&input{kind: inAbort, cause: Error{Cause: CauseAborted, Code: CodeCancelled}})`},
	{3, "an OPEN that is taken back keeps its place in the backlog", "quicpeer/accept.go",
		`	if e.backlog.remove(in) {`,
		`	if slices.Contains(e.backlog.waiting, in) {`},
	{3, "ACCEPT that crosses CLOSE is a violation", "session/machine_frames.go",
		`} // else our CLOSE has crossed it, and wins`,
		`} else {
			s.violation("ACCEPT after CLOSE")
		}`},
	{3, "REJECT that crosses CLOSE is ignored", "session/machine_frames.go",
		`		s.rejected(f, nil)`,
		`		if s.state == StateOpening {
			s.rejected(f, nil)
		}`},
	{3, "a close after the peer's is a success", "session/close.go",
		`			s.discard()
		}
		return s.err`,
		`			s.discard()
		}
		return nil`},

	{4, "FIN before OPEN is no violation", "session/machine_close.go",
		`		s.violation("the stream ended before OPEN")`,
		`		s.setCause(Error{Cause: CauseClosed, Remote: true})
		s.tear(CodeNormal, s.cause)`},
	{4, "a close that the peer answers with FIN alone is confirmed", "session/machine_close.go",
		`	s.over(c)
	s.await(closeTimeout)
}

func (s *stepper) closeRead(`,
		`	c = Error{}
	s.over(c)
	s.await(closeTimeout)
}

func (s *stepper) closeRead(`},
	{4, "FIN inside a frame is taken for one between two", "session/reader.go",
		`return io.ErrUnexpectedEOF`,
		`return io.EOF`},

	{5, "a violation on a session costs the link", "quicpeer/link.go",
		`		l.ep.log.Warn("protocol violation on a session",`,
		`		defer l.violation("on a session")
		l.ep.log.Warn("protocol violation on a session",`},
	{5, "a frame of a session on the link stream is ignored", "quicpeer/linkstream.go",
		`			l.violation(f.FrameType().String() + " does not belong on the link stream")
			return
`, ``},
	{5, "CLOSE_ACK may count one message more than were sent", "session/machine_close.go",
		`	case f.Received > s.counts.Sent:
		s.violation("CLOSE_ACK`,
		`	case f.Received > s.counts.Sent+1:
		s.violation("CLOSE_ACK`},

	{6, "silence where the backlog is full", "quicpeer/accept.go",
		`		_ = in.Reject(session.CodeBusy, "too many sessions wait to be accepted", 0)
`, ``},
	{6, "connections above 32 seem open, and are dropped", "quicpeer/endpoint.go",
		`		e.background.Go(func() {
			if _, err := e.addLink(`,
		`		e.background.Go(func() {
			e.mu.Lock()
			full := len(e.links) >= 32
			e.mu.Unlock()
			if full {
				_ = conn.CloseWithError(quic.ApplicationErrorCode(session.CodeBusy), "full")
				return
			}
			if _, err := e.addLink(`},
	{6, "nobody is asked to prove its address", "quicpeer/endpoint.go",
		`return e.admission.mustProve(time.Now(), source(a))`,
		`return false`},

	{7, "whom this side dialed may open what it likes", "quicpeer/link.go",
		`	l.ep.offer(in)`,
		`	if l.dialed == nil || !l.ep.backlog.put(in) {
		l.ep.offer(in)
	}`},
	{7, "where a protocol is served, every other is offered too", "quicpeer/accept.go",
		`case handler == nil && !slices.Contains(e.config.Protocols, in.Protocol()):`,
		`case handler == nil && len(e.config.Protocols) == 0:`},
	{7, "the policy is not asked where there is a handler", "quicpeer/accept.go",
		`case e.config.AdmitSession != nil &&`,
		`case handler == nil && e.config.AdmitSession != nil &&`},

	{8, "a link is used without asking this dial's trust", "quicpeer/connect.go",
		`if l.usable() && certs.Learn(trust, peer) == nil {`,
		`if l.usable() {`},
	{8, "a link that the peer dialed is used for its address", "quicpeer/connect.go",
		`case o.PeerID.IsZero() && l.dialed != nil && l.dialed.address == address && addrPort(l.conn.RemoteAddr()) == l.dialed.addr:`,
		`case o.PeerID.IsZero() && l.RemoteAddr().String() == address:`},
	{8, "a dial relies on a link with a trust of its own", "quicpeer/connect.go",
		`case !own && l.trust != nil:`,
		`case false:`},
	{8, "an anonymous link is used for its address", "quicpeer/connect.go",
		`		case o.PeerID.IsZero() && l.dialed != nil`,
		`		case o.PeerID.IsZero() && l.anonymous && l.RemoteAddr().String() == address:
			found = append(found, l)
		case o.PeerID.IsZero() && l.dialed != nil`},
	{8, "links stay when trust changes", "quicpeer/endpoint.go",
		`	for _, l := range links {
		e.recheck(l)
	}`,
		`	_ = links`},

	{9, "the link of the larger id comes first", "quicpeer/connect.go",
		`bytes.Compare(ida[:], idb[:])`,
		`bytes.Compare(idb[:], ida[:])`},
	{9, "of two links of one dialer, the older comes first", "quicpeer/connect.go",
		`bytes.Compare(a.exporter[:], b.exporter[:])`,
		`a.since.Compare(b.since)`},
	{9, "the value is exported under another label", "quicpeer/link.go",
		`"EXPORTER-quicpeer-link"`,
		`"EXPORTER-quicpeer"`},
	{9, "the link that is not preferred is cut", "quicpeer/connect.go",
		`	slices.SortFunc(found, e.compare)
`,
		`	slices.SortFunc(found, e.compare)
	for _, l := range found[min(1, len(found)):] {
		go l.close(closed(session.CodeNormal, "another link is preferred"))
	}
`},
	{9, "an OPEN on the link that is not preferred is rejected", "quicpeer/link.go",
		`	ending := l.awaySent || l.closing
	l.mu.Unlock()
	if ending {`,
		`	ending := l.awaySent || l.closing
	l.mu.Unlock()
	l.ep.mu.Lock()
	for o := range l.ep.links {
		ending = ending || o != l && o.peer.ID == l.peer.ID && l.ep.compare(o, l) < 0
	}
	l.ep.mu.Unlock()
	if ending {`},

	{10, "an OPEN is tried again after any close of the link", "quicpeer/dial.go",
		`return e.Cause == session.CauseLinkClosed && e.Code == session.CodeLinkIdle`,
		`return e.Cause == session.CauseLinkClosed`},
	{10, "any GOAWAY refuses all sessions", "quicpeer/linkstream.go",
		`return l.away != nil && id >= l.away.FirstRefused`,
		`return l.away != nil`},
	{10, "an idle link is closed without saying so", "quicpeer/link.go",
		`l.close(closed(session.CodeLinkIdle, "no session"))`,
		`l.close(closed(session.CodeNormal, "no session"))`},
	{10, "the idle time counts from the link's beginning, not from its last session", "quicpeer/link.go",
		`		if l.idle != nil {
			l.idle.Stop()
		}
	case l.idle == nil:
		l.idle = time.AfterFunc(linkIdleTimeout, l.closeIdle)
	default:
		l.idle.Reset(linkIdleTimeout)
	}`,
		`	case l.idle == nil:
		l.idle = time.AfterFunc(linkIdleTimeout, l.closeIdle)
	case time.Since(l.since) > linkIdleTimeout:
		l.idle.Reset(linkIdleTimeout)
	}`},

	{11, "a restarted peer is taken for a lost link", "quicpeer/errors.go",
		`Cause: session.CausePeerRestarted, Remote: true, Err: err`,
		`Cause: session.CauseLinkLost, Remote: true, Err: err`},
	{11, "another instance id ends the other links unasked", "quicpeer/connect.go",
		`			o.ask()`,
		`			o.close(session.Error{Cause: session.CauseSuperseded, Code: session.CodeSuperseded})`},
	{11, "a peer that is far away has no more than 1 s to answer", "quicpeer/connect.go",
		`max(supersedeTimeout, 3*l.pto())`,
		`supersedeTimeout`},

	{12, "the reset key does not depend on the address", "certs/identity.go",
		`return id.derive(labelResetKey, bound)`,
		`return id.derive(labelResetKey, "")`},
	{12, "two processes on one host have one reset key", "quicpeer/endpoint.go",
		`quic.StatelessResetKey(e.identity.ResetKey(bound))`,
		`quic.StatelessResetKey(e.identity.ResetKey(addrPort(pc.LocalAddr()).Addr().String()))`},
	{12, "the reset key does not survive a restart", "quicpeer/endpoint.go",
		`quic.StatelessResetKey(e.identity.ResetKey(bound))`,
		`quic.StatelessResetKey(e.identity.ResetKey(bound + string(e.instance[:])))`},

	{13, "applications are not told of a new address", "quicpeer/linkdata.go",
		`	if before != remote {
		changed = true`,
		`	if before != remote {`},
	{13, "the size is not asked anew", "quicpeer/linkdata.go",
		`changed = l.mux.SetMaxDatagram(limit)`,
		`changed = limit == 0`},

	{14, "a message above the limit is sent", "session/message.go",
		`if limit := s.MaxMessageSize(); len(message) > limit {`,
		`if limit := s.MaxMessageSize(); len(message) > 2*limit {`},
	{14, "the newest of the incomplete messages gives way", "datagram/reassembly.go",
		`		f.giveUp(0, ReasonReassemblyFull)`,
		`		f.giveUp(len(r.incomplete)-1, ReasonReassemblyFull)`},
	{14, "what was early has its second from the moment it is accepted", "datagram/receiver.go",
		`f.reassemble(e.at, fragment)`,
		`f.reassemble(now, fragment)`},
	{14, "further pieces of a message that was given up begin it anew", "datagram/reassembly.go",
		`	r.finished.mark(r.incomplete[i].id)
`, ``},

	{15, "one signal more than there is credit for", "session/machine.go",
		`m.signalsSent-m.signalsAcked < m.signalLimit }`,
		`m.signalsSent-m.signalsAcked <= m.signalLimit }`},
	{15, "CLOSE waits until the signals are taken", "session/machine_close.go",
		`	if s.state != StateClosing || s.closeSent {`,
		`	if s.state != StateClosing || s.closeSent || s.signalsSent > s.signalsAcked {`},
	{15, "the sender of a signal that was not taken is told nothing", "session/signal.go",
		`			w.err = &SignalError{Outcome: ErrSignalNotTaken, Cause: s.err}
`, ``},

	{16, "the last cause replaces the first", "session/machine.go",
		`	if s.cause.Cause != 0 {
		return
	}
`, ``},
	{16, "calls for messages return an error of their own", "session/message.go",
		`	if err == errEnded {
		return s.Err()
	}
`, ``},
	{16, "Ping answers on a session that is over", "session/session.go",
		`	if err := s.Err(); err != nil {
		return 0, err
	}
	waiting, cancel`,
		`	waiting, cancel`},

	{17, "a dialer does not ask for trust in a resumed handshake", "certs/tls.go",
		`		peer.Name = name
`,
		`		peer.Name = name
		if state.DidResume {
			return nil
		}
`},
	{17, "a listener does not ask for trust in a resumed handshake", "certs/tls.go",
		`		peer.Incoming = true
`,
		`		peer.Incoming = true
		if state.DidResume {
			return nil
		}
`},
	{17, "there are tickets", "certs/tls.go",
		`SessionTicketsDisabled: true`,
		`SessionTicketsDisabled: false`},
	{17, "tokens of NEW_TOKEN are good for a day", "quicpeer/endpoint.go",
		`const noTokens = -1`,
		`const noTokens = 24 * time.Hour`},
	{17, "the server's name is always sent", "certs/tls.go",
		`if wantsSNI(t) {`,
		`if t != nil {`},
}
