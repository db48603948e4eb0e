package main

import (
	"time"

	"github.com/quic-go/quic-go"

	"github.com/oneportnet/quicpeer/session"
)

// linkAttacks come from a peer that the victim trusts, and are about links.
func linkAttacks() []attack {
	return []attack{
		{
			name: "no-session", act: "link", rate: 100, parts: 8, trusted: true, run: noSession,
			tried:    "links that never open a session, as many as there can be from one address",
			promised: "64 at most, others are refused and counted; closed after 20 s",
			check: func(o *outcome) []string {
				var k kept
				k.want(o.peakLinks <= linksOfOneAddress, "%d links from one address", o.peakLinks)
				k.want(o.stats.Refused > 0, "nobody was refused")
				return k
			},
		},
		{
			name: "reconnect", act: "link", rate: 100, parts: 8, trusted: true, run: reconnect,
			tried:    "links made and left, over and over",
			promised: "64 at most; the log stays bounded",
			check: func(o *outcome) []string {
				var k kept
				k.want(o.peakLinks <= linksOfOneAddress, "%d links from one address", o.peakLinks)
				return k
			},
		},
		{
			name: "settings", act: "link", rate: 100, parts: 8, trusted: true,
			run:      linkViolation(frames(session.Settings{}, session.Settings{})),
			tried:    "SETTINGS again, and again on a new link",
			promised: "each link is closed as a violation, counted",
			check:    linksCut,
		},
		{
			name: "link-frames-over-limit", act: "link", rate: 100, parts: 8, trusted: true,
			run:      linkViolation(append([]byte{byte(session.TypeGoAway), 0x80, 0, 0x10, 0}, make([]byte, 4096)...)),
			tried:    "frames above their limit on the link stream, and again on a new link",
			promised: "each link is closed as a violation, counted",
			check:    linksCut,
		},
		{
			name: "pings", act: "PING", rate: 20_000, parts: 2, trusted: true,
			run:      onLink(100, ping),
			tried:    "PINGs, whose PONGs are never read",
			promised: "one PONG waits at most",
			check:    linkLives,
		},
		{
			name: "goaways", act: "GOAWAY", rate: 20_000, parts: 2, trusted: true,
			run:      onLink(100, goAway),
			tried:    "GOAWAYs, each lower than the one before",
			promised: "logged once",
			check: func(o *outcome) []string {
				k := kept(linkLives(o))
				k.want(o.logLines < 50, "%d lines in the log because of it", o.logLines) // the links', too
				return k
			},
		},
		{
			name: "unknown-frames", act: "frame of 1 KB", rate: 5000, parts: 2, trusted: true,
			run:      onLink(10, func(int) session.Frame { return session.Unknown{Type: 0x3e, Value: make([]byte, 1000)} }),
			tried:    "frames of unknown types on the link stream",
			promised: "skipped, not kept",
			check:    linkLives,
		},
		{
			name: "unknown-frames-large", act: "frame of 64 KB", rate: 50, parts: 2, trusted: true,
			run:      onLink(1, func(int) session.Frame { return session.Unknown{Type: 0x3e, Value: make([]byte, 64<<10)} }),
			tried:    "the same, each as long as it may be",
			promised: "skipped, not kept",
			check:    linkLives,
		},
		{
			name: "uni-streams", act: "stream", rate: 2000, parts: 2, trusted: true, run: uniStreams,
			tried:    "unidirectional streams of unknown types",
			promised: "stopped, 8 at a time",
			check: func(o *outcome) []string {
				var k kept
				k.want(o.attacker.Notes["STOP_SENDING "+session.CodeUnsupported.String()] > 0, "no stream was stopped: %v", o.attacker.Notes)
				return k
			},
		},
	}
}

func linksCut(o *outcome) []string {
	var k kept
	k.want(o.stats.Violations > 0, "no violation was counted")
	k.want(o.attacker.Cut[session.CodeViolation.String()] > 0, "no link was closed for it: %v", o.attacker.Cut)
	k.want(o.stats.Violations >= o.attacker.Cut[session.CodeViolation.String()], "%d violations were counted, %v", o.stats.Violations, o.attacker.Cut)
	k.want(o.attacker.Notes[notCutOff] == 0, "%d links were not closed for it", o.attacker.Notes[notCutOff])
	return k
}

const notCutOff = "not cut off"

// noSession keeps every link.
func noSession(a *attacker, _ int) {
	for a.act(1) {
		h, err := a.host(address(0))
		if err != nil {
			a.note(err.Error())
			return
		}
		if p, err := a.connect(h, quicConfig()); err == nil {
			go p.answer()
		}
	}
}

func reconnect(a *attacker, _ int) {
	h, err := a.host(address(0))
	if err != nil {
		a.note(err.Error())
		return
	}
	for a.act(1) {
		if p, err := a.connect(h, quicConfig()); err == nil {
			_ = p.CloseWithError(0, "")
		}
	}
}

// linkViolation writes what costs the link, waits for that, and begins anew.
func linkViolation(b []byte) func(*attacker, int) {
	return func(a *attacker, _ int) {
		h, err := a.host(address(0))
		if err != nil {
			a.note(err.Error())
			return
		}
		for a.act(1) {
			p, err := a.connect(h, quicConfig())
			if err != nil {
				continue
			}
			_, _ = p.link.Write(b)
			select {
			case <-p.Context().Done():
			case <-time.After(2 * time.Second):
				a.note(notCutOff)
			}
		}
	}
}

// onLink writes frames to the link stream of one link, so many at a time.
func onLink(batch int, next func(i int) session.Frame) func(*attacker, int) {
	return func(a *attacker, part int) {
		p := a.peer(part)
		if p == nil {
			return
		}
		if _, ok := p.open(protoHold); !ok { // without a session, GOAWAY would be the end
			return
		}
		for i := 0; a.act(batch); {
			var b []byte
			for range batch {
				b = next(i).Append(b)
				i++
			}
			if _, err := p.link.Write(b); err != nil {
				a.note(err.Error())
				return
			}
		}
	}
}

// peer makes one link, from an address of its own, that answers heartbeats.
func (a *attacker) peer(n int) *hostile { return a.peerWith(n, quicConfig()) }

func (a *attacker) peerWith(n int, config *quic.Config) *hostile {
	h, err := a.host(address(n))
	if err != nil {
		a.note(err.Error())
		return nil
	}
	p, err := a.connect(h, config)
	if err != nil {
		a.note(err.Error())
		return nil
	}
	go p.answer()
	return p
}

func ping(i int) session.Frame { return session.Ping{Token: [8]byte{byte(i), byte(i >> 8)}} }

func goAway(i int) session.Frame {
	return session.GoAway{Reason: "leaving, really", FirstRefused: uint64(1<<40 - i)}
}

func uniStreams(a *attacker, part int) {
	p := a.peer(part)
	if p == nil {
		return
	}
	for a.act(1) {
		s, err := p.OpenUniStreamSync(a.ctx)
		if err != nil {
			return
		}
		if _, err := s.Write([]byte{0x21, 1, 2, 3}); err != nil {
			a.note(err.Error())
			return
		}
		go func() {
			<-s.Context().Done()
			if e := stopped(s.Context()); e != "" {
				a.note("STOP_SENDING " + e)
			}
		}()
	}
}
