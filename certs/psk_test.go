package certs

import (
	"bytes"
	"context"
	"crypto/tls"
	"testing"
)

// TLS handshake messages and what they have in them (RFC 8446, sections 4 and
// 4.2).
const (
	msgCertificateRequest = 13
	msgCertificate        = 11
	extPreSharedKey       = 41
)

var (
	pskWithDHE = []byte{0, 45, 0, 2, 1, 1} // the extension psk_key_exchange_modes
	pskAlone   = []byte{0, 45, 0, 2, 1, 0}
)

// A client that offers a ticket, also one that offers nothing but the ticket's
// key (psk_ke), without a Diffie-Hellman exchange, is asked for its certificate
// like any other. The ticket is one that the server could open.
func TestPreSharedKeysAreNotTaken(t *testing.T) {
	me, peer := newIdentityForTest(t), newIdentityForTest(t)
	client, giving := peer.ClientTLS(testALPN, Anyone(), "me:1"), me.ServerTLS(testALPN, Anyone(), false)
	wantResumption(client, "me")
	giving.SessionTicketsDisabled = false
	giving.SetSessionTicketKeys([][32]byte{{1}})
	c, s := quicPair(t, client, giving)
	quicRun(t, c, s)
	wantNoError(t, s.SendSessionTicket(tls.QUICSessionTicketOptions{}), "a ticket")
	quicRun(t, c, s)

	hello := quicHello(t, client)
	want(t, bytes.Contains(hello, []byte{0, extPreSharedKey}) && bytes.Contains(hello, pskWithDHE), "the client offers it")
	ours := me.ServerTLS(testALPN, Anyone(), false)
	ours.SetSessionTicketKeys([][32]byte{{1}})
	ours.SessionTicketsDisabled = true
	for _, c := range []struct {
		what   string
		server *tls.Config
		hello  []byte
		asked  bool
	}{
		{"a server that resumes", giving, hello, false}, // so the test can tell
		{"ours", ours, hello, true},
		{"ours, the ticket's key alone", ours, bytes.Replace(hello, pskWithDHE, pskAlone, 1), true},
	} {
		sent := quicAnswer(t, c.server, c.hello)
		want(t, bytes.IndexByte(sent, msgCertificateRequest) >= 0 == c.asked && bytes.IndexByte(sent, msgCertificate) >= 0 == c.asked,
			"%s: proves its key and wants a proof: %v, sent messages %v", c.what, c.asked, sent)
	}
}

func quicPair(t *testing.T, client, server *tls.Config) (c, s *tls.QUICConn) {
	c, s = tls.QUICClient(&tls.QUICConfig{TLSConfig: client}), tls.QUICServer(&tls.QUICConfig{TLSConfig: server})
	for _, conn := range []*tls.QUICConn{c, s} {
		conn.SetTransportParameters(nil)
		wantNoError(t, conn.Start(context.Background()), "start")
		t.Cleanup(func() { conn.Close() })
	}
	return c, s
}

// quicRun carries messages until nobody has any left.
func quicRun(t *testing.T, c, s *tls.QUICConn) {
	for moved := true; moved; {
		moved = false
		for _, side := range [][2]*tls.QUICConn{{c, s}, {s, c}} {
			for e := side[0].NextEvent(); e.Kind != tls.QUICNoEvent; e = side[0].NextEvent() {
				if e.Kind == tls.QUICWriteData {
					moved = true
					wantNoError(t, side[1].HandleData(e.Level, e.Data), "handshake")
				}
			}
		}
	}
}

// quicHello returns a client's first message.
func quicHello(t *testing.T, client *tls.Config) []byte {
	c := tls.QUICClient(&tls.QUICConfig{TLSConfig: client})
	c.SetTransportParameters(nil)
	defer c.Close()
	wantNoError(t, c.Start(context.Background()), "start")
	for e := c.NextEvent(); e.Kind != tls.QUICNoEvent; e = c.NextEvent() {
		if e.Kind == tls.QUICWriteData {
			return bytes.Clone(e.Data)
		}
	}
	t.Fatal("no ClientHello")
	return nil
}

// quicAnswer returns the types of the messages that a server answers with.
func quicAnswer(t *testing.T, server *tls.Config, hello []byte) (types []byte) {
	s := tls.QUICServer(&tls.QUICConfig{TLSConfig: server})
	s.SetTransportParameters(nil)
	defer s.Close()
	wantNoError(t, s.Start(context.Background()), "start")
	wantNoError(t, s.HandleData(tls.QUICEncryptionLevelInitial, hello), "hello")
	for e := s.NextEvent(); e.Kind != tls.QUICNoEvent; e = s.NextEvent() {
		for data := e.Data; e.Kind == tls.QUICWriteData && len(data) >= 4; {
			types = append(types, data[0])
			data = data[4+(int(data[1])<<16|int(data[2])<<8|int(data[3])):]
		}
	}
	return types
}
