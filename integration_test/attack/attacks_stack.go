package main

import (
	"crypto/rand"
	"encoding/binary"
	"net"
	"sync/atomic"
)

// stackAttacks are about QUIC itself, and need no key or any that is trusted.
func stackAttacks() []attack {
	return []attack{
		{
			name: "packets-garbage", act: "packet", rate: 10_000, parts: 1, run: garbage,
			tried:    "packets of noise, of unknown connections, of unknown versions, with forged tokens, empty, from 16,384 sources",
			promised: "answered with at most one smaller packet, or not at all; no link",
			check:    noLinks,
		},
		{
			name: "migration", act: "frame", rate: 2000, parts: 2, trusted: true, run: migration,
			tried:    "a link whose every packet comes from another of 16,384 addresses",
			promised: "one path is validated at a time; the log stays bounded",
		},
	}
}

// garbage is what a port gets that is on the open net.
func garbage(a *attacker, _ int) {
	noise := make([]byte, 1<<16)
	_, _ = rand.Read(noise)
	initial := func(version uint32, token int) []byte {
		b := append([]byte{0xc0}, binary.BigEndian.AppendUint32(nil, version)...)
		b = append(b, 8)
		b = append(b, noise[:8]...) // destination connection id
		b = append(b, 8)
		b = append(b, noise[8:16]...)
		b = append(b, 0x40, byte(token))
		b = append(b, noise[100:100+token]...)
		b = append(b, 0x44, 0xb0, 0, 0, 0, 0)
		return append(b, noise[:1250-len(b)]...)
	}
	a.spray(func(i int) []byte {
		switch i % 6 {
		case 0: // no connection has this id: a stateless reset, at most
			return append([]byte{0x40}, noise[i%1000:i%1000+60]...)
		case 1:
			return noise[i%1000 : i%1000+1200]
		case 2: // version negotiation
			return initial(0x1a2a3a4a, 0)
		case 3: // a token that nobody gave
			return initial(1, 60)
		case 4: // an Initial that cannot be decrypted
			return initial(1, 0)
		default:
			return []byte{}
		}
	}, func(i int) net.IP { return net.ParseIP(address(i % (1 << 14))) })
}

// migration sends each packet from another address. The socket has all of them,
// so it gets the answers, whichever the victim believes.
func migration(a *attacker, part int) {
	h, err := a.host("0.0.0.0")
	if err != nil {
		a.note(err.Error())
		return
	}
	p, err := a.connect(h, quicConfig())
	if err != nil {
		a.note(err.Error())
		return
	}
	go p.answer()
	var n atomic.Uint32
	from := func() []byte {
		return sourceControl(net.ParseIP(address(part<<13 + int(n.Add(1))%(1<<13))))
	}
	h.conn.from.Store(&from)
	for i := 0; a.act(1); i++ {
		if _, err := p.link.Write(frames(ping(i))); err != nil {
			a.note(err.Error())
			return
		}
	}
}
