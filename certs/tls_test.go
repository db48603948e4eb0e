package certs

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"path/filepath"
	"testing"
	"time"
)

func TestAnonymousPeer(t *testing.T) {
	me, stranger := newIdentityForTest(t), newIdentityForTest(t)
	anonymous := stranger.ClientTLS(testALPN, IDs(me.ID()), "me:1")
	anonymous.GetClientCertificate = nil

	asked := false
	trust := TrustFunc(func(Peer) error { asked = true; return errors.New("no") })
	o := handshake(t, anonymous, me.ServerTLS(testALPN, trust, true))
	wantNoError(t, o.serverErr, "let in where the configuration says so")
	wantNoError(t, o.clientErr, "and that is what it sees")
	_, shown := PeerFromState(o.server)
	want(t, !shown && !asked, "it has no identity, and trust is not asked")

	o = handshake(t, anonymous, me.ServerTLS(testALPN, Anyone(), false))
	want(t, o.serverErr != nil && o.clientErr != nil, "kept out otherwise, even with trust in anyone")
	// Twice: crypto/tls refuses it, and so would we.
	strict := me.ServerTLS(testALPN, Anyone(), false)
	want(t, strict.ClientAuth == tls.RequireAnyClientCert, "the alert says that a certificate is required")
	e := wantError[*UntrustedError](t, strict.VerifyConnection(tls.ConnectionState{}), "no certificate")
	want(t, e.Peer.IsZero() && e.Incoming, "who was refused: %+v", e)

	o = handshake(t, stranger.ClientTLS(testALPN, IDs(me.ID()), "me:1"), me.ServerTLS(testALPN, trust, true))
	wantError[*UntrustedError](t, o.serverErr, "who shows a certificate is judged by it")
	want(t, asked, "by trust")
}

func TestOnlyTLS13(t *testing.T) {
	me, peer := newIdentityForTest(t), newIdentityForTest(t)
	old := peer.ClientTLS(testALPN, Anyone(), "me:1")
	old.MinVersion, old.MaxVersion = tls.VersionTLS12, tls.VersionTLS12
	o := handshake(t, old, me.ServerTLS(testALPN, Anyone(), false))
	want(t, o.serverErr != nil, "a listener refuses TLS 1.2")

	old = peer.ServerTLS(testALPN, Anyone(), false)
	old.MinVersion, old.MaxVersion = tls.VersionTLS12, tls.VersionTLS12
	o = handshake(t, me.ClientTLS(testALPN, Anyone(), "p:1"), old)
	want(t, o.clientErr != nil, "a dialer refuses TLS 1.2")

	o = handshake(t, me.ClientTLS(testALPN, Anyone(), "p:1"), peer.ServerTLS("other", Anyone(), false))
	want(t, o.clientErr != nil, "both speak the same protocol")
}

// wantResumption makes a client ask for it.
func wantResumption(client *tls.Config, name string) {
	client.SessionTicketsDisabled = false
	client.ClientSessionCache = tls.NewLRUClientSessionCache(8)
	client.ServerName = name // the key of the cache
}

func TestNoResumption(t *testing.T) {
	me, peer := newIdentityForTest(t), newIdentityForTest(t)
	// A client that would like to, at our listener.
	client, server := peer.ClientTLS(testALPN, Anyone(), "me:1"), me.ServerTLS(testALPN, Anyone(), false)
	wantResumption(client, "me")
	for range 3 {
		o := handshake(t, client, server)
		wantNoError(t, o.clientErr, "handshake")
		want(t, !o.client.DidResume && !o.server.DidResume, "a listener resumes nothing")
	}
	// Our client, at a listener that would like to.
	client, server = me.ClientTLS(testALPN, Anyone(), "p:1"), peer.ServerTLS(testALPN, Anyone(), false)
	client.ServerName, server.SessionTicketsDisabled = "p", false
	for range 3 {
		o := handshake(t, client, server)
		wantNoError(t, o.clientErr, "handshake")
		want(t, !o.client.DidResume && !o.server.DidResume, "a dialer resumes nothing")
	}
	// Where the caller switches both on against advice, trust is still asked,
	// and asked again.
	client = peer.ClientTLS(testALPN, Anyone(), "me:1")
	wantResumption(client, "me")
	refuse := errors.New("changed my mind")
	var verdict error
	server = me.ServerTLS(testALPN, TrustFunc(func(Peer) error { return verdict }), false)
	server.SessionTicketsDisabled = false
	wantNoError(t, handshake(t, client, server).clientErr, "first")
	o := handshake(t, client, server)
	want(t, o.clientErr == nil && o.server.DidResume, "this one resumes: %v", o.clientErr)
	verdict = refuse
	o = handshake(t, client, server)
	want(t, errors.Is(o.serverErr, refuse), "trust is asked on resumption: %v", o.serverErr)
	// The same of a dialer.
	client = peer.ClientTLS(testALPN, TrustFunc(func(Peer) error { return verdict }), "me:1")
	wantResumption(client, "me")
	server = me.ServerTLS(testALPN, Anyone(), false)
	server.SessionTicketsDisabled = false
	verdict = nil
	wantNoError(t, handshake(t, client, server).clientErr, "first")
	o = handshake(t, client, server)
	want(t, o.clientErr == nil && o.client.DidResume, "this one resumes: %v", o.clientErr)
	verdict = refuse
	o = handshake(t, client, server)
	want(t, errors.Is(o.clientErr, refuse), "a dialer asks on resumption: %v", o.clientErr)
}

func TestSNIIsSentOnlyForACA(t *testing.T) {
	a := newAuthority(t)
	me := newIdentityForTest(t)
	peer := a.issue(t, x509.Certificate{DNSNames: []string{"peer.test"}})
	file, err := KnownPeers(filepath.Join(t.TempDir(), "known"))
	wantNoError(t, err, "known peers")
	for _, c := range []struct {
		trust     Trust
		name, sni string
	}{
		{IDs(peer.ID()), "peer.test:4433", ""},
		{file, "peer.test:4433", ""},
		{Anyone(), "peer.test:4433", ""},
		{CA(a.pool), "peer.test:4433", "peer.test"},
		{CA(a.pool), "peer.test.:4433", "peer.test"},
		{CA(a.pool), "peer.test", "peer.test"},
		{AnyOf(IDs(peer.ID()), CA(a.pool)), "peer.test:4433", "peer.test"},
		{AnyOf(IDs(peer.ID()), CA(a.pool)), "192.0.2.7:4433", ""},
		{AnyOf(IDs(peer.ID()), CA(a.pool)), "[2001:db8::7]:4433", ""},
	} {
		server := peer.ServerTLS(testALPN, Anyone(), false)
		got := "not asked"
		server.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			got = hello.ServerName
			return nil, nil
		}
		o := handshake(t, me.ClientTLS(testALPN, c.trust, c.name), server)
		wantNoError(t, o.clientErr, c.name)
		want(t, got == c.sni, "SNI %q for %q, got %q", c.sni, c.name, got)
	}
}

// A client presents its certificate even to a server that lists CAs which did
// not issue it.
func TestClientCertificateIsNotWithheld(t *testing.T) {
	me, peer := newIdentityForTest(t), newIdentityForTest(t)
	server := peer.ServerTLS(testALPN, IDs(me.ID()), false)
	server.ClientCAs = newAuthority(t).pool
	o := handshake(t, me.ClientTLS(testALPN, IDs(peer.ID()), "p:1"), server)
	wantNoError(t, o.serverErr, "handshake")
}

func TestPeerKeyTypes(t *testing.T) {
	me := newIdentityForTest(t)
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	wantNoError(t, err, "generate")
	p224, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	wantNoError(t, err, "generate")
	for _, key := range []crypto.Signer{weak, p224} {
		cert, err := selfSigned(key, PeerID{1}, time.Now())
		wantNoError(t, err, "certificate")
		state := tls.ConnectionState{PeerCertificates: []*x509.Certificate{cert.Leaf}}
		for _, config := range []*tls.Config{me.ServerTLS(testALPN, Anyone(), true), me.ClientTLS(testALPN, Anyone(), "p:1")} {
			err := config.VerifyConnection(state)
			wantError[*UntrustedError](t, err, "whoever it is")
			wantError[*UnsupportedKeyError](t, err, "because of the key")
		}
	}
	err = me.ClientTLS(testALPN, Anyone(), "p:1").VerifyConnection(tls.ConnectionState{})
	wantError[*UntrustedError](t, err, "a listener is never anonymous")
}

// liar shows a certificate whose key it does not have.
type liar struct{ crypto.Signer }

func (l liar) Sign(r io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	other, err := ecdsa.GenerateKey(elliptic.P256(), r)
	if err != nil {
		return nil, err
	}
	return other.Sign(r, digest, opts)
}

func TestProofOfTheKey(t *testing.T) {
	me, victim := newIdentityForTest(t), newIdentityForTest(t)
	forged := victim.Certificate()
	forged.PrivateKey = liar{victim.own().key}

	path := filepath.Join(t.TempDir(), "known")
	known, err := KnownPeers(path)
	wantNoError(t, err, "known peers")
	server := victim.ServerTLS(testALPN, Anyone(), false)
	server.Certificates = []tls.Certificate{forged}
	o := handshake(t, me.ClientTLS(testALPN, AnyOf(known, IDs(victim.ID())), "victim:1"), server)
	want(t, o.clientErr != nil, "a listener without the key is not who it shows")
	wantFiles(t, filepath.Dir(path))

	client := victim.ClientTLS(testALPN, Anyone(), "me:1")
	client.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &forged, nil }
	o = handshake(t, client, me.ServerTLS(testALPN, IDs(victim.ID()), true))
	want(t, o.serverErr != nil, "nor is a dialer, anonymous ones allowed or not")
}

// QUIC drives crypto/tls through another door. The errors come through there
// as well, and the alert says "bad certificate".
func TestErrorsThroughQUIC(t *testing.T) {
	me, peer := newIdentityForTest(t), newIdentityForTest(t)
	clientErr, serverErr := quicHandshake(t,
		me.ClientTLS(testALPN, IDs(me.ID()), "p:1"), peer.ServerTLS(testALPN, Anyone(), false))
	wantError[*UntrustedError](t, clientErr, "dialing")
	wantAlert(t, clientErr)
	want(t, serverErr == nil, "an alert travels in QUIC's own frame: %v", serverErr)

	clientErr, serverErr = quicHandshake(t,
		me.ClientTLS(testALPN, IDs(peer.ID()), "p:1"), peer.ServerTLS(testALPN, IDs(peer.ID()), false))
	wantError[*UntrustedError](t, serverErr, "incoming")
	wantAlert(t, serverErr)
	want(t, clientErr == nil, "the dialer was done before")

	clientErr, serverErr = quicHandshake(t,
		me.ClientTLS(testALPN, IDs(peer.ID()), "p:1"), peer.ServerTLS(testALPN, IDs(me.ID()), false))
	want(t, clientErr == nil && serverErr == nil, "both trust: %v, %v", clientErr, serverErr)
}

func wantAlert(t *testing.T, err error) {
	t.Helper()
	const badCertificate = 42 // RFC 8446, section 6
	var alert tls.AlertError
	want(t, errors.As(err, &alert) && alert == badCertificate, "alert 42, got %v in %v", alert, err)
}

// quicHandshake carries the messages by hand until nobody has any left.
func quicHandshake(t *testing.T, client, server *tls.Config) (clientErr, serverErr error) {
	t.Helper()
	c, s := tls.QUICClient(&tls.QUICConfig{TLSConfig: client}), tls.QUICServer(&tls.QUICConfig{TLSConfig: server})
	c.SetTransportParameters(nil)
	s.SetTransportParameters(nil)
	defer c.Close()
	defer s.Close()
	wantNoError(t, c.Start(context.Background()), "start")
	wantNoError(t, s.Start(context.Background()), "start")
	for moved := true; moved; {
		moved = false
		for _, side := range []struct {
			from, to *tls.QUICConn
			err      *error
		}{{c, s, &serverErr}, {s, c, &clientErr}} {
			for e := side.from.NextEvent(); e.Kind != tls.QUICNoEvent; e = side.from.NextEvent() {
				if e.Kind == tls.QUICWriteData && *side.err == nil {
					moved = true
					*side.err = side.to.HandleData(e.Level, e.Data)
				}
			}
		}
	}
	return clientErr, serverErr
}
