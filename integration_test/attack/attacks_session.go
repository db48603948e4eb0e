package main

import (
	"context"
	"errors"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/oneportnet/quicpeer/session"
)

// sessionAttacks come from a peer that the victim trusts, and are about its
// sessions and their streams.
func sessionAttacks() []attack {
	return []attack{
		{
			name: "streams-silent", act: "stream", rate: 2000, parts: 2, trusted: true, run: silent([]byte{byte(session.TypeOpen)}),
			tried:    "streams opened and left silent, as many as there can be",
			promised: "1,024 a link; reset after 10 s",
		},
		{
			name: "sessions-abandoned", act: "session", rate: 2000, parts: 2, trusted: true,
			run:      silent(frames(session.Open{Protocol: protoHold})),
			tried:    "sessions opened and abandoned, as many as there can be",
			promised: "1,024 a link",
		},
		{
			name: "rapid-reset", act: "session", rate: 5000, parts: 2, trusted: true, run: rapidReset,
			tried:    "sessions opened and reset in the same flight",
			promised: "1,024 handlers a link; every one ends",
		},
		{
			name: "open-close", act: "session", rate: 2000, parts: 4, trusted: true, run: openClose(protoQueue),
			tried:    "sessions opened, and taken back while they wait to be accepted",
			promised: "128 wait at most, others are rejected as busy; withdrawn ones are counted",
			check: func(o *outcome) []string {
				var k kept
				k.want(o.stats.Withdrawn > 0, "none was withdrawn")
				return k
			},
		},
		{
			name: "backlog", act: "session", rate: 1000, parts: 4, trusted: true,
			run:      silent(frames(session.Open{Protocol: protoQueue, Metadata: make([]byte, 16000)})),
			tried:    "sessions with 16 KB of metadata that nobody accepts",
			promised: "128 wait at most, others are rejected as busy and counted",
			check: func(o *outcome) []string {
				var k kept
				k.want(o.stats.Busy > 0, "none was rejected as busy")
				return k
			},
		},
		{
			name: "slow-loris", act: "byte", rate: 5000, parts: 2, trusted: true, run: slowLoris,
			tried:    "500 OPENs of 16 KB, one byte at a time",
			promised: "memory follows the bytes; reset after 10 s",
		},
		{
			name: "frames-at-limit", act: "frame", rate: 200, parts: 2, trusted: true, run: atLimit,
			tried:    "signals of 16 KiB until there is no credit, unknown frames of 64 KiB, CLOSE with a reason of 1 KiB",
			promised: "256 KiB of signals a session; no violation",
			check: func(o *outcome) []string {
				var k kept
				k.want(o.stats.Violations == 0, "%d violations of what is allowed", o.stats.Violations)
				return k
			},
		},
		{
			name: "frames-over-limit", act: "session", rate: 500, parts: 2, trusted: true, run: overLimit,
			tried:    "frames above each limit, signals beyond the credit, known frames out of place",
			promised: "each session is reset as a violation, counted; its link lives",
			check:    func(o *outcome) []string { return sessionsReset(o, o.attacker.Acts) },
		},
		{
			name: "signals", act: "signal", rate: 5000, parts: 2, trusted: true, run: signals,
			tried:    "signals that nobody takes, beyond their credit, on one session after the other",
			promised: "the 17th resets the session as a violation, counted",
			check:    func(o *outcome) []string { return sessionsReset(o, o.attacker.Acts/(session.DefaultMaxSignals+1)) },
		},
		{
			name: "never-reads", act: "session", rate: 100, parts: 16, trusted: true, run: neverReads,
			tried:    "sessions to which the victim sends, by a peer that reads neither streams nor datagrams, with the smallest windows",
			promised: "the victim's own Close ends in its time",
			check:    closesInTime,
		},
		{
			name: "never-acks", act: "session", rate: 100, parts: 16, trusted: true, run: neverAcks,
			tried:    "sessions to which the victim sends, by a peer that falls silent, acknowledgements included",
			promised: "the victim's own Close ends in its time; what is under way is bounded",
			check:    closesInTime,
		},
	}
}

func sessionsReset(o *outcome, all uint64) []string {
	var k kept
	k.want(o.stats.Violations+notYet(all) >= all, "%d violations were counted in %d sessions", o.stats.Violations, all)
	k.want(o.attacker.Reset[session.CodeViolation.String()]+notYet(all) >= all, "of %d sessions were reset for it: %v", all, o.attacker.Reset)
	k.want(o.attacker.Cut[session.CodeViolation.String()] == 0, "links were closed")
	return k
}

func closesInTime(o *outcome) []string {
	var k kept
	k.want(o.closes > 0, "the victim closed nothing")
	k.want(o.slowClose < closeLimit.Seconds()+0.5, "a close took %.1f s", o.slowClose)
	return k
}

func stopped(ctx context.Context) string {
	var e *quic.StreamError
	if errors.As(context.Cause(ctx), &e) && e.Remote {
		return session.Code(e.ErrorCode).String()
	}
	return ""
}

// silent opens streams with the same beginning, and does nothing more with
// them.
func silent(beginning []byte) func(*attacker, int) {
	return func(a *attacker, part int) {
		p := a.peer(part)
		if p == nil {
			return
		}
		for a.act(1) {
			s, err := p.stream(beginning)
			if err != nil {
				return
			}
			go p.over(s)
		}
	}
}

func rapidReset(a *attacker, part int) {
	p := a.peer(part)
	if p == nil {
		return
	}
	open := frames(session.Open{Protocol: protoHold})
	for a.act(1) {
		s, err := p.stream(open)
		if err != nil {
			return
		}
		s.CancelWrite(quic.StreamErrorCode(session.CodeCancelled))
		s.CancelRead(quic.StreamErrorCode(session.CodeCancelled))
	}
}

func openClose(proto string) func(*attacker, int) {
	return func(a *attacker, part int) {
		p := a.peer(part)
		if p == nil {
			return
		}
		b := frames(session.Open{Protocol: proto}, session.Close{Code: 0x100})
		for a.act(1) {
			s, err := p.stream(b)
			if err != nil {
				return
			}
			go func() {
				fr := session.NewFrameReader(s, session.Limits{})
				if f, err := fr.NextFrame(); err == nil && f.FrameType() == session.TypeCloseAck {
					_, _ = s.Write(frames(session.Done{}))
				}
				_ = s.Close()
				p.over(s)
			}()
		}
	}
}

func slowLoris(a *attacker, part int) {
	p := a.peer(part)
	if p == nil {
		return
	}
	open := frames(session.Open{Protocol: protoHold, Metadata: make([]byte, 16000)})
	type slow struct {
		*quic.Stream
		sent int
	}
	var all []*slow
	for range 250 {
		s, err := p.OpenStreamSync(a.ctx)
		if err != nil {
			return
		}
		all = append(all, &slow{Stream: s})
		go p.over(s)
	}
	for i := 0; a.act(1); i++ {
		s := all[i%len(all)]
		if _, err := s.Write(open[s.sent : s.sent+1]); err != nil {
			return
		}
		s.sent = min(s.sent+1, len(open)-2) // never the last one
	}
}

func atLimit(a *attacker, part int) {
	p := a.peer(part)
	if p == nil {
		return
	}
	reason := make([]byte, session.MaxReason)
	for i := range reason {
		reason[i] = 'x'
	}
	signal := frames(session.Signal{Payload: make([]byte, session.DefaultMaxSignal)})
	unknown := frames(session.Unknown{Type: 0x3e, Value: make([]byte, session.MaxUnknown)})
	for a.ctx.Err() == nil {
		s, err := p.stream(frames(session.Open{Protocol: protoHold}))
		if err != nil {
			return
		}
		fr := session.NewFrameReader(s, session.Limits{})
		if _, err := fr.NextFrame(); err != nil {
			return
		}
		for i := 0; i < session.DefaultMaxSignals && a.act(1); i++ {
			_, _ = s.Write(signal)
		}
		for i := 0; i < 4 && a.act(1); i++ {
			_, _ = s.Write(unknown)
		}
		_, _ = s.Write(frames(session.Close{Code: 0x100, Reason: string(reason)}))
		if f, err := fr.NextFrame(); err == nil && f.FrameType() == session.TypeCloseAck {
			_, _ = s.Write(frames(session.Done{}))
		}
		_ = s.Close()
		go p.over(s)
	}
}

// offences are frames that cost their session, behind an OPEN.
func offences() [][]byte {
	over := func(t session.FrameType, size int) []byte {
		return append([]byte{byte(t), 0x80, byte(size >> 16), byte(size >> 8), byte(size)}, make([]byte, min(size, 4096))...)
	}
	return [][]byte{
		over(session.TypeSignal, 16<<10+1025),
		over(session.TypeClose, 2049),
		over(session.TypeReport, 1025),
		over(0x3e, 64<<10+1),
		frames(session.Open{Protocol: protoHold}),
		frames(session.Ping{}),
		frames(session.Done{}),
		frames(session.SignalAck{Taken: 1 << 40}),
		frames(session.Close{SignalsReceived: 1 << 40}),
		{byte(session.TypeClose), 1, 0},
	}
}

func overLimit(a *attacker, part int) {
	p := a.peer(part)
	if p == nil {
		return
	}
	open, bad := frames(session.Open{Protocol: protoHold}), offences()
	for i := 0; a.act(1); i++ {
		s, err := p.stream(append(append([]byte(nil), open...), bad[i%len(bad)]...))
		if err != nil {
			return
		}
		go p.over(s)
	}
}

func signals(a *attacker, part int) {
	p := a.peer(part)
	if p == nil {
		return
	}
	signal := frames(session.Signal{Payload: make([]byte, 100)})
	for a.ctx.Err() == nil {
		s, err := p.stream(frames(session.Open{Protocol: protoHold}))
		if err != nil {
			return
		}
		if _, err := session.NewFrameReader(s, session.Limits{}).NextFrame(); err != nil {
			return
		}
		for i := 0; i <= session.DefaultMaxSignals && a.act(1); i++ {
			_, _ = s.Write(signal)
		}
		go p.over(s)
	}
}

// neverReads gives the smallest windows there are, and never reads.
func neverReads(a *attacker, part int) {
	config := quicConfig()
	config.InitialStreamReceiveWindow, config.MaxStreamReceiveWindow = 4096, 4096
	config.InitialConnectionReceiveWindow, config.MaxConnectionReceiveWindow = 8192, 8192
	p := a.peerWith(part, config)
	if p == nil {
		return
	}
	for a.act(1) {
		if _, err := p.stream(frames(session.Open{Protocol: protoTalk})); err != nil {
			return
		}
	}
}

// neverAcks opens sessions, and falls silent after a moment.
func neverAcks(a *attacker, part int) {
	for i := 0; a.act(5); i++ {
		p := a.peer(part + 16*i)
		if p == nil {
			return
		}
		for range 5 {
			if _, err := p.stream(frames(session.Open{Protocol: protoTalk})); err != nil {
				return
			}
		}
		time.Sleep(50 * time.Millisecond)
		silent := func([]byte) bool { return true }
		p.host.conn.drop.Store(&silent)
	}
}
