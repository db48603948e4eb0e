package certs

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"strings"
	"testing"
)

// A key file that is accepted says the same when written anew, and no error
// shows what is in it.
func FuzzKeyFile(f *testing.F) {
	issued := newAuthority(f).issue(f, x509.Certificate{DNSNames: []string{"peer.test"}})
	data, err := issued.encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add([]byte(testKeyP256))
	f.Add([]byte("text\n" + testKeyEd25519 + "text\n"))
	f.Add([]byte("-----BEGIN EC PRIVATE KEY-----\nAQ==\n-----END EC PRIVATE KEY-----\n"))
	block, _ := pem.Decode([]byte(testKeyP256))
	for _, kind := range []string{pemKey, "EC PRIVATE KEY", "ENCRYPTED PRIVATE KEY", "SECRET"} {
		f.Add(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: block.Bytes[:100]})) // damaged, or of another kind
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > maxKeyFile {
			return
		}
		id, err := parseKeyFile(data)
		if err != nil {
			want(t, id == nil, "no identity beside an error")
			if block, _ := pem.Decode(data); block != nil && len(block.Bytes) >= 32 {
				wantHidden(t, err, block.Bytes[len(block.Bytes)/2:])
			}
			return
		}
		want(t, !id.ID().IsZero(), "an id")
		anew, err := id.encode()
		wantNoError(t, err, "write what was read")
		again, err := parseKeyFile(anew)
		wantNoError(t, err, "read what was written")
		want(t, again.ID() == id.ID() && again.ResetKey("a") == id.ResetKey("a"), "the same identity")
		want(t, again.own().issued == id.own().issued, "with a certificate of a CA, or without")
		twice, err := again.encode()
		want(t, err == nil && bytes.Equal(anew, twice), "the written form is stable: %v", err)
	})
}

// wantHidden checks that an error does not show bytes as they are, as numbers,
// in hexadecimal or in base64.
func wantHidden(t *testing.T, err error, secret []byte) {
	t.Helper()
	text := strings.ReplaceAll(err.Error(), "\n", "") // as PEM has some
	part := secret[:15]                               // whole groups of three
	for _, shown := range []string{
		string(part), hex.EncodeToString(part), strings.Trim(fmt.Sprint(part), "[]"), strings.Trim(fmt.Sprintf("%q", part), `"`),
		base64.StdEncoding.EncodeToString(part), base64.StdEncoding.EncodeToString(part[1:13]), base64.StdEncoding.EncodeToString(part[2:14]),
	} {
		want(t, !strings.Contains(text, shown), "the error does not show the key: %v", err)
	}
}

// Whatever certificates a peer presents, nothing panics in the handshake's
// callback, in either role and under any trust. The id is that of the first
// certificate's key, every refusal is typed and names it, and nobody is trusted
// but who was issued or listed.
func FuzzPeerCertificates(f *testing.F) {
	authority := newAuthority(f)
	other := newIdentityForTest(f)
	trusted := authority.issue(f, x509.Certificate{DNSNames: []string{"peer.test"}})
	chain := trusted.Certificate().Certificate
	f.Add(chain[0], chain[1], "peer.test:1")
	f.Add(other.Certificate().Certificate[0], []byte(nil), "[::1]:1")
	f.Add(other.Certificate().Certificate[0], chain[1], "")
	f.Add(other.Certificate().Certificate[0], []byte(nil), "peer.test:1") // where another key is known
	weak, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(authority.sign(f, &x509.Certificate{}, nil, weak.Public(), weak).Raw, []byte(nil), "peer.test:1")
	f.Add([]byte{0x30, 0}, []byte{0x30}, "peer.test")
	known, err := KnownPeers(write(f, "known", "peer.test:1 "+trusted.ID().String()+"\n"))
	if err != nil {
		f.Fatal(err)
	}
	pool := authority.pool
	trusts := []Trust{nil, Anyone(), IDs(trusted.ID()), CA(pool), known, AnyOf(CA(pool), IDs(trusted.ID())), AllOf(CA(pool), known)}
	f.Fuzz(func(t *testing.T, leaf, issuer []byte, name string) {
		var state tls.ConnectionState
		for _, der := range [][]byte{leaf, issuer} {
			if len(der) == 0 {
				continue
			}
			cert, err := x509.ParseCertificate(der)
			if err != nil {
				return // crypto/tls ends the handshake itself
			}
			state.PeerCertificates = append(state.PeerCertificates, cert)
		}
		peer, ok := PeerFromState(state)
		want(t, ok == (len(state.PeerCertificates) > 0), "a peer is one that has a certificate")
		if ok {
			want(t, peer.ID == PeerIDFromCertificate(state.PeerCertificates[0]), "the first certificate is its own")
		}
		for i, trust := range trusts {
			for role, err := range map[string]error{
				"server":       other.ServerTLS(testALPN, trust, false).VerifyConnection(state),
				"server, open": other.ServerTLS(testALPN, trust, true).VerifyConnection(state),
				"client":       other.ClientTLS(testALPN, trust, name).VerifyConnection(state),
			} {
				if err != nil {
					e := wantError[*UntrustedError](t, err, role)
					want(t, e.Peer == peer.ID, "whom it is about")
					continue
				}
				if !ok {
					want(t, role == "server, open", "%s: trust %d accepted nobody", role, i)
					continue
				}
				want(t, trust != nil, "no trust is no trust")
				want(t, checkKey(peer.Certificates[0].PublicKey) == nil, "no key that is too weak")
				if i > 1 { // the CA's own key is as good as one that it signs
					want(t, peer.ID == trusted.ID() || i != 2 && peer.ID == PeerIDFromCertificate(authority.mid) || i == 4 && role == "client" && name != "peer.test:1",
						"%s: trust %d accepted another key", role, i)
				}
			}
		}
	})
}

// The host in a dialed name is what a certificate must have: it is part of the
// name, and taking it apart again changes nothing.
func FuzzSplitName(f *testing.F) {
	for _, s := range []string{"host:1", "host", "[::1]:1", "[::1]", "::1", "[", "a:b:c", ":1", "host."} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, name string) {
		host, port := splitName(name)
		want(t, len(host)+len(port) <= len(name), "nothing is added to %q: %q, %q", name, host, port)
		if port != "" {
			again, _ := splitName("[" + host + "]:" + port)
			want(t, again == host, "%q is the host of %q, not %q", host, name, again)
		}
		_, _ = canonicalName(name)
	})
}
