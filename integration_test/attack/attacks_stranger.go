package main

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	mathrand "math/rand/v2"
	"net"
	"sync"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/oneportnet/quicpeer/certs"
)

// strangerAttacks need no key that the victim trusts.
func strangerAttacks() []attack {
	return []attack{
		{
			name: "initials-one", act: "Initial", rate: 2000, parts: 1, prepare: prepareInitials, run: floodInitials(1),
			tried:    "floods of Initials from one source that never answers",
			promised: "half of the address's places at most, the rest gets a Retry; no link",
			check:    noLinks,
		},
		{
			name: "initials-many", act: "Initial", rate: 2000, parts: 1, prepare: prepareInitials, run: floodInitials(1 << 14),
			tried:    "floods of Initials from 16,384 sources that never answer",
			promised: "100 handshakes a second are begun, the rest gets a Retry; no link",
			check:    noLinks,
		},
		{
			name: "initials-as-honest", act: "Initial", rate: 2000, parts: 1, prepare: prepareInitials, run: floodAsHonest,
			tried:    "floods of Initials in the name of the honest peers' addresses",
			promised: "the honest peers lose no place; newcomers get in",
			check:    noLinks,
		},
		{
			name: "handshakes-unfinished", act: "handshake", rate: 200, parts: 64, run: unfinished(1),
			tried:    "handshakes from one address, which is proved, never finished",
			promised: "64 at a time, others are refused and counted",
			check: func(o *outcome) []string {
				k := kept(noLinks(o))
				k.want(o.stats.Refused > 0, "nobody was refused")
				// Who is silent keeps its place for 5 s.
				places := uint64(linksOfOneAddress * o.rounds * (1 + int(o.seconds/5)))
				k.want(o.attacker.Notes[completeForClient] <= places, "%d had a place, of %d", o.attacker.Notes[completeForClient], places)
				return k
			},
		},
		{
			name: "handshakes-unfinished-many", act: "handshake", rate: 200, parts: 64, run: unfinished(200),
			tried:    "handshakes from 200 addresses, which are proved, never finished",
			promised: "no link; each ends after 10 s at most",
			check:    noLinks,
		},
		{
			name: "strangers", act: "handshake", rate: 100, parts: 8, run: strangers(1),
			tried:    "whole handshakes from one address, with a key that the victim does not trust",
			promised: "refused in the handshake, counted; no link",
			check:    refused,
		},
		{
			name: "strangers-many", act: "handshake", rate: 100, parts: 8, run: strangers(200),
			tried:    "the same from 200 addresses",
			promised: "refused in the handshake, counted; no link",
			check:    refused,
		},
		{
			name: "certificates", act: "handshake", rate: 100, parts: 8, prepare: prepareCertificates, run: badCertificates,
			tried:    "certificates: none, expired, RSA of 1,024, 8,192 and 16,384 bits, P-224, a chain of 60 KB, one of 15 KB, a trusted peer's without its key",
			promised: "refused in the handshake, counted where trust was asked; no link",
			check: func(o *outcome) []string {
				k := kept(refused(o))
				k.want(o.stats.Untrusted > 0, "none was counted as untrusted")
				return k
			},
		},
	}
}

func noLinks(o *outcome) []string {
	var k kept
	k.want(o.peakLinks == 0, "%d links of strangers came up", o.peakLinks)
	return k
}

func refused(o *outcome) []string {
	k := kept(noLinks(o))
	k.want(o.stats.Untrusted+o.stats.Refused > 0, "nobody was refused")
	k.want(len(o.attacker.Cut) > 0, "nobody was told")
	k.want(o.attacker.Notes[notRefused] == 0, "%d were not refused", o.attacker.Notes[notRefused])
	return k
}

// Notes of attackers that the checks look at.
const (
	completeForClient = "complete for the client"
	notRefused        = "not refused"
)

// prepareInitials makes the first packets of as many handshakes as the attack
// will need, each with a connection id of its own, by catching what a client
// sends. To make them takes a client longer than to send them.
func prepareInitials(a *attacker, r request) error {
	n := min(int(float64(r.Rate)*r.For.Seconds()*1.05)+1, 1<<16)
	caught := &catcher{closed: make(chan struct{}), limit: n}
	transport := &quic.Transport{Conn: caught}
	config := a.clientTLS()
	config.CurvePreferences = []tls.CurveID{tls.X25519} // one packet, not two
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var dials sync.WaitGroup
	slots := make(chan struct{}, 64)
	for range n {
		slots <- struct{}{}
		dials.Go(func() {
			defer func() { <-slots }()
			short, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
			defer cancel()
			_, _ = transport.Dial(short, a.victim, config, quicConfig())
		})
	}
	dials.Wait()
	_ = caught.Close()
	_ = transport.Close()
	a.initials = caught.packets
	if len(a.initials) == 0 {
		return errors.New("no Initial was caught")
	}
	return nil
}

// catcher is a network from which nothing comes back.
type catcher struct {
	closed chan struct{}
	once   sync.Once
	limit  int

	mu      sync.Mutex
	packets [][]byte
}

func (c *catcher) WriteTo(b []byte, _ net.Addr) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	// Long header, Initial of version 1, large: not the CONNECTION_CLOSE.
	if len(c.packets) < c.limit && len(b) >= 1200 && b[0]&0xf0 == 0xc0 {
		c.packets = append(c.packets, append([]byte(nil), b...))
	}
	return len(b), nil
}

func (c *catcher) ReadFrom([]byte) (int, net.Addr, error) {
	<-c.closed
	return 0, nil, net.ErrClosed
}

func (c *catcher) Close() error {
	c.once.Do(func() { close(c.closed) })
	return nil
}

func (c *catcher) LocalAddr() net.Addr { return &net.UDPAddr{IP: net.IPv4(127, 2, 0, 1), Port: 1} }

func (c *catcher) SetDeadline(time.Time) error      { return nil }
func (c *catcher) SetReadDeadline(time.Time) error  { return nil }
func (c *catcher) SetWriteDeadline(time.Time) error { return nil }

// spray sends packets, from sources that do not listen.
func (a *attacker) spray(packet func(i int) []byte, source func(i int) net.IP) {
	// From a port that nobody reads: answers are dropped by the kernel.
	u, err := net.ListenUDP("udp4", &net.UDPAddr{})
	if err != nil {
		a.note(err.Error())
		return
	}
	_ = u.SetReadBuffer(1)
	for i := 0; a.act(1); i++ {
		b := packet(i)
		if b == nil {
			return
		}
		if _, _, err := u.WriteMsgUDP(b, sourceControl(source(i)), a.victim); err != nil {
			a.note(err.Error())
			continue
		}
		a.packets.Add(1)
		a.bytes.Add(uint64(len(b)))
	}
}

func (a *attacker) nextInitial(i int) []byte {
	if i >= len(a.initials) {
		return nil
	}
	return a.initials[i]
}

func floodInitials(sources int) func(*attacker, int) {
	return func(a *attacker, _ int) {
		a.spray(a.nextInitial, func(i int) net.IP { return net.ParseIP(address(i % sources)) })
	}
}

// floodAsHonest forges the addresses of honest.go.
func floodAsHonest(a *attacker, _ int) {
	a.spray(a.nextInitial, func(i int) net.IP { return net.IPv4(127, 0, 1, byte(1+i%2)) })
}

// unfinished begins handshakes, proves its address if asked, and sends nothing
// but Initials.
func unfinished(sources int) func(*attacker, int) {
	return func(a *attacker, part int) {
		config := a.clientTLS()
		config.CurvePreferences = []tls.CurveID{tls.X25519} // one packet, not two
		for i := part; a.act(1); i += 64 {
			h, err := a.host(address(i % sources))
			if err != nil {
				a.note(err.Error())
				return
			}
			drop := afterClientHello()
			h.conn.drop.Store(&drop)
			ctx, cancel := context.WithTimeout(a.ctx, 100*time.Millisecond)
			conn, err := h.Dial(ctx, a.victim, config, quicConfig())
			cancel()
			if err == nil {
				a.note(completeForClient)
				silent := func([]byte) bool { return true }
				h.conn.drop.Store(&silent) // as if it had vanished
				_ = conn.CloseWithError(0, "")
			} else {
				a.ended(err)
			}
			_ = h.conn.Close()
		}
	}
}

// afterClientHello drops all but one Initial, and one with a token.
func afterClientHello() func([]byte) bool {
	var sent [2]bool // without and with a token
	return func(b []byte) bool {
		with := 0
		if len(b) < 7 || b[0]&0xf0 != 0xc0 {
			return true
		}
		i := 6 + int(b[5]) // the second connection id's length (RFC 9000 section 17.2)
		if i += 1 + int(b[i]); b[i] != 0 {
			with = 1
		}
		again := sent[with]
		sent[with] = true
		return again
	}
}

// strangers complete handshakes.
func strangers(sources int) func(*attacker, int) {
	return func(a *attacker, part int) {
		for i := part; a.act(1); i += 8 {
			a.handshake(address(i%sources), a.clientTLS())
		}
	}
}

// handshake makes one and waits for what the victim thinks of it.
func (a *attacker) handshake(from string, config *tls.Config) {
	h, err := a.host(from)
	if err != nil {
		a.note(err.Error())
		return
	}
	defer func() {
		_ = h.Close()
		_ = h.conn.Close()
	}()
	ctx, cancel := context.WithTimeout(a.ctx, 2*time.Second)
	defer cancel()
	conn, err := h.Dial(ctx, a.victim, config, quicConfig())
	if err == nil {
		a.links.Add(1)
		select {
		case <-conn.Context().Done():
			err = context.Cause(conn.Context())
		case <-ctx.Done():
			if a.ctx.Err() == nil {
				a.note(notRefused)
			}
			_ = conn.CloseWithError(0, "")
			return
		}
	}
	a.ended(err)
}

// bad are the certificates of the attack of that name.
var bad []tls.Certificate

func prepareCertificates(a *attacker, r request) error {
	signer, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	rsaSigner, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return err
	}
	p224, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	if err != nil {
		return err
	}
	trusted, err := certs.Load(r.Identity)
	if err != nil {
		return err
	}
	now := time.Now()
	expired := certificate(signer.Public(), signer, now.Add(-time.Hour))
	bad = []tls.Certificate{
		{}, // none
		{Certificate: [][]byte{expired}, PrivateKey: signer},
		{Certificate: [][]byte{certificate(p224.Public(), signer, now)}, PrivateKey: signer},
		{Certificate: repeated(expired, 60<<10), PrivateKey: signer},
		{Certificate: repeated(expired, 15<<10), PrivateKey: signer},
		{Certificate: trusted.Certificate().Certificate, PrivateKey: signer},
	}
	for _, bits := range []int{1024, 8192, 16384} {
		// Nobody needs the private half to show a public one.
		n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), uint(bits-1)))
		if err != nil {
			return err
		}
		n.SetBit(n, bits-1, 1).SetBit(n, 0, 1)
		der := certificate(&rsa.PublicKey{N: n, E: 1<<31 - 1}, signer, now)
		bad = append(bad, tls.Certificate{Certificate: [][]byte{der}, PrivateKey: rsaSigner})
	}
	return nil
}

// certificate says that a key is somebody's, until then.
func certificate(key crypto.PublicKey, signer crypto.Signer, until time.Time) []byte {
	template := &x509.Certificate{
		Subject:   pkix.Name{CommonName: "nobody"},
		NotBefore: until.Add(-24 * time.Hour), NotAfter: until,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key, signer)
	if err != nil {
		panic("attack: BUG: " + err.Error())
	}
	return der
}

// repeated is a chain of so many bytes.
func repeated(der []byte, size int) [][]byte {
	var chain [][]byte
	for ; size > 0; size -= len(der) {
		chain = append(chain, der)
	}
	return chain
}

func badCertificates(a *attacker, part int) {
	for i := part; a.act(1); i += 8 {
		cert := bad[mathrand.IntN(len(bad))]
		config := a.clientTLS()
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &cert, nil }
		a.handshake(address(i%200), config)
	}
}
