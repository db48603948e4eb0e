package main

import (
	"crypto/rand"

	"github.com/oneportnet/quicpeer/datagram"
	"github.com/oneportnet/quicpeer/session"
)

// datagramAttacks come from a peer that the victim trusts, and are about
// datagrams.
func datagramAttacks() []attack {
	return []attack{
		{
			name: "datagrams-stray", act: "datagram", rate: 20_000, parts: 2, trusted: true, run: stray,
			tried:    "datagrams of unknown, closed and future sessions, of unknown kinds, malformed, empty, with repeated numbers",
			promised: "64 datagrams and 64 KiB are kept for 1 s; the link lives",
			check:    linkLives,
		},
		{
			name: "messages-unread", act: "message", rate: 20_000, parts: 2, trusted: true, run: unread,
			tried:    "messages of 1,000 bytes for a session that nobody reads",
			promised: "its queue is bounded, what does not fit is dropped",
			check:    linkLives,
		},
		{
			name: "fragments", act: "fragment", rate: 10_000, parts: 2, trusted: true, run: fragments,
			tried:    "first pieces of messages of 64 KiB whose rest never comes",
			promised: "8 incomplete messages and 256 KiB a session",
			check:    linkLives,
		},
		{
			name: "heartbeats", act: "datagram", rate: 20_000, parts: 2, trusted: true, run: heartbeats,
			tried:    "heartbeats, echoes that nobody asked for, and credits for what was never sent",
			promised: "one echo waits at most",
			check:    linkLives,
		},
	}
}

func linkLives(o *outcome) []string {
	var k kept
	k.want(len(o.attacker.Cut) == 0, "the link was cut: %v", o.attacker.Cut)
	return k
}

// each sends datagrams until the attack is over.
func (p *hostile) each(next func(i int, number uint64) []byte) {
	for i := 0; p.a.act(10); {
		for range 10 {
			if err := p.SendDatagram(next(i, p.number.Add(1))); err != nil {
				p.a.note(err.Error())
				return
			}
			i++
		}
	}
}

func stray(a *attacker, part int) {
	p := a.peer(part)
	if p == nil {
		return
	}
	// Session 0 is over by the time the datagrams come.
	s, err := p.stream(frames(session.Open{Protocol: "no such"}))
	if err != nil {
		return
	}
	_ = s.Close()
	p.over(s)
	payload := make([]byte, 100)
	p.each(func(i int, number uint64) []byte {
		message := func(id uint64) []byte {
			return datagram.AppendMessage(nil, number, datagram.Message{Session: id, Payload: payload})
		}
		switch i % 8 {
		case 0:
			return message(0) // closed
		case 1:
			return message(1) // of the victim's own, never opened
		case 2:
			return message(uint64(2 + 2*(i%1000))) // future
		case 3:
			return append(datagram.AppendHeader(nil, datagram.Header{Kind: 0x3e, Number: number}), payload...)
		case 4:
			return datagram.AppendHeader(nil, datagram.Header{Kind: datagram.KindBundle, Number: number}) // without a message
		case 5:
			return nil
		case 6:
			b := make([]byte, 50)
			_, _ = rand.Read(b)
			return b
		default:
			return datagram.AppendMessage(nil, 1, datagram.Message{Payload: payload})
		}
	})
}

// open opens a session and waits until it is accepted.
func (p *hostile) open(protocol string) (id uint64, ok bool) {
	s, err := p.stream(frames(session.Open{Protocol: protocol}))
	if err != nil {
		return 0, false
	}
	_, err = session.NewFrameReader(s, session.Limits{}).NextFrame()
	return sessionID(s), err == nil
}

func unread(a *attacker, part int) {
	p := a.peer(part)
	if p == nil {
		return
	}
	id, ok := p.open(protoHold)
	if !ok {
		return
	}
	payload := make([]byte, 1000)
	p.each(func(_ int, number uint64) []byte {
		return datagram.AppendMessage(nil, number, datagram.Message{Session: id, Payload: payload})
	})
}

func fragments(a *attacker, part int) {
	p := a.peer(part)
	if p == nil {
		return
	}
	var ids []uint64
	for range 8 {
		id, ok := p.open(protoHold)
		if !ok {
			return
		}
		ids = append(ids, id)
	}
	payload := make([]byte, 1000)
	p.each(func(i int, number uint64) []byte {
		return datagram.AppendFragment(nil, number, datagram.Fragment{
			Session: ids[i%len(ids)], ID: uint64(i), Total: 64 << 10, Offset: uint64(i % 60 * 1000), Payload: payload,
		})
	})
}

func heartbeats(a *attacker, part int) {
	p := a.peer(part)
	if p == nil {
		return
	}
	p.each(func(i int, number uint64) []byte {
		switch i % 3 {
		case 0:
			return datagram.AppendHeartbeat(nil, number, false, [8]byte{byte(i)})
		case 1:
			return datagram.AppendHeartbeat(nil, number, true, [8]byte{byte(i)})
		default:
			return datagram.AppendCredit(nil, number, datagram.Credit{End: 1<<40 + uint64(i), Taken: uint64(i)})
		}
	})
}
