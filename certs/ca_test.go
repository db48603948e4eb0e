package certs

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"
	"unicode"
)

// authority is a root and an intermediate that issues.
type authority struct {
	pool  *x509.CertPool
	mid   *x509.Certificate
	key   crypto.Signer
	count int64
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	a := &authority{pool: x509.NewCertPool()}
	rootKey := newKey(t)
	root := a.sign(t, &x509.Certificate{Subject: pkix.Name{CommonName: "root"}, IsCA: true, KeyUsage: x509.KeyUsageCertSign}, nil, rootKey.Public(), rootKey)
	a.pool.AddCert(root)
	a.key = newKey(t)
	a.mid = a.sign(t, &x509.Certificate{Subject: pkix.Name{CommonName: "intermediate"}, IsCA: true, KeyUsage: x509.KeyUsageCertSign}, root, a.key.Public(), rootKey)
	return a
}

func newKey(t testing.TB) crypto.Signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// sign fills in what the template leaves open; parent nil is self-signed.
func (a *authority) sign(t testing.TB, template, parent *x509.Certificate, pub crypto.PublicKey, by crypto.Signer) *x509.Certificate {
	t.Helper()
	a.count++
	template.SerialNumber = big.NewInt(a.count)
	template.BasicConstraintsValid = true
	if template.NotBefore.IsZero() {
		template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	}
	if parent == nil {
		parent = template
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, pub, by)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

// issue returns an identity with a certificate, for both roles unless the
// template says otherwise.
func (a *authority) issue(t testing.TB, template x509.Certificate) *Identity {
	t.Helper()
	if template.ExtKeyUsage == nil {
		template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	}
	key := newKey(t)
	leaf := a.sign(t, &template, a.mid, key.Public(), a.key)
	id, err := FromTLSCertificate(tls.Certificate{Certificate: [][]byte{leaf.Raw, a.mid.Raw}, PrivateKey: key})
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// certificates is the parsed chain of an identity.
func certificates(id *Identity) []*x509.Certificate {
	var chain []*x509.Certificate
	for _, der := range id.Certificate().Certificate {
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			panic(err)
		}
		chain = append(chain, cert)
	}
	return chain
}

func TestCA(t *testing.T) {
	a, other := newAuthority(t), newAuthority(t)
	past := x509.Certificate{DNSNames: []string{"peer.test"}, NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: time.Now().Add(-time.Hour)}
	future := x509.Certificate{DNSNames: []string{"peer.test"}, NotBefore: time.Now().Add(time.Hour), NotAfter: time.Now().Add(2 * time.Hour)}
	good := a.issue(t, x509.Certificate{DNSNames: []string{"peer.test", "*.wild.test"}, IPAddresses: []net.IP{net.ParseIP("192.0.2.7"), net.ParseIP("2001:db8::7")}})
	serverOnly := a.issue(t, x509.Certificate{DNSNames: []string{"peer.test"}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
	clientOnly := a.issue(t, x509.Certificate{DNSNames: []string{"peer.test"}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	bare := peerOf(good, "peer.test")
	bare.Certificates = nil
	noChain := peerOf(good, "peer.test")
	noChain.Certificates = noChain.Certificates[:1]

	for _, c := range []struct {
		what string
		peer Peer
		ok   bool
	}{
		{"host", peerOf(good, "peer.test"), true},
		{"host and port", peerOf(good, "peer.test:4433"), true},
		{"host in another case", peerOf(good, "Peer.TEST:4433"), true},
		{"wildcard", peerOf(good, "a.wild.test:4433"), true},
		{"address", peerOf(good, "192.0.2.7:4433"), true},
		{"IPv6 address", peerOf(good, "[2001:db8::7]:4433"), true},
		{"IPv6 address alone", peerOf(good, "2001:db8::7"), true},
		{"IPv6 address in brackets", peerOf(good, "[2001:db8::7]"), true},
		{"IPv6 address with zone", peerOf(good, "[2001:db8::7%eth0]:4433"), true},
		{"incoming", peerOf(good, ""), true},
		{"server certificate dialed", peerOf(serverOnly, "peer.test"), true},
		{"client certificate incoming", peerOf(clientOnly, ""), true},

		{"another host", peerOf(good, "other.test:4433"), false},
		{"another address", peerOf(good, "192.0.2.8:4433"), false},
		{"no name", Peer{ID: good.ID(), Certificates: certificates(good)}, false},
		{"a port alone", peerOf(good, ":4433"), false},
		{"server certificate incoming", peerOf(serverOnly, ""), false},
		{"client certificate dialed", peerOf(clientOnly, "peer.test"), false},
		{"expired", peerOf(a.issue(t, past), "peer.test"), false},
		{"not yet valid", peerOf(a.issue(t, future), "peer.test"), false},
		{"another CA", peerOf(other.issue(t, x509.Certificate{DNSNames: []string{"peer.test"}}), "peer.test"), false},
		{"self-signed", peerOf(newIdentityForTest(t), "peer.test"), false},
		{"intermediate missing", noChain, false},
		{"no certificate", bare, false},
	} {
		err := CA(a.pool).Verify(c.peer)
		if c.ok {
			wantNoError(t, err, c.what)
			continue
		}
		e := wantError[*UntrustedError](t, err, c.what)
		want(t, e.Peer == c.peer.ID && e.Want != "" && e.Err != nil, "peer, want and cause for %s: %v", c.what, e)
	}

	wantError[*UntrustedError](t, CA(nil).Verify(peerOf(good, "peer.test")), "no pool is nobody, not the system's")
}

// A refused listener's certificate says what it likes, and crypto/x509 repeats
// it. Whoever prints that gets one line of bounded length.
func TestRefusalShowsNoControlCharacters(t *testing.T) {
	a := newAuthority(t)
	names := []string{"a\x1b[2J\r\nb.test"}
	for range 50 {
		names = append(names, strings.Repeat("x", 200)+".test")
	}
	liar := a.issue(t, x509.Certificate{DNSNames: names})
	err := Verify(CA(a.pool), peerOf(liar, "peer.test:1"))
	wantText(t, err, "is valid for a\ufffd[2J\ufffd\ufffdb.test", "…")
	want(t, strings.IndexFunc(err.Error(), unicode.IsControl) < 0, "no control characters: %q", err)
	want(t, len(err.Error()) < maxCause+1000, "bounded, got %d bytes", len(err.Error()))
	wantError[x509.HostnameError](t, err, "the cause is whole")
}
