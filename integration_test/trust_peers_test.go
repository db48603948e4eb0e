package integration_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/oneportnet/quicpeer/certs"
	"github.com/oneportnet/quicpeer/quicpeer"
)

// caller is a peer of the matrix: the right one, or one that is wrong in some
// way.
type caller struct {
	what   string
	cert   *tls.Certificate // nil: it presents none
	alpn   string           // quicpeer.ALPN if empty
	friend bool             // its key is the one that is expected
	proof  bool             // it has the key of its certificate, of a kind that we take
	server bool             // a CA would let it in as a listener
	client bool             // and as a dialer
}

// id is the id of what it presents first; zero if that is nothing.
func (c caller) id(t *testing.T) certs.PeerID {
	if c.cert == nil {
		return certs.PeerID{}
	}
	leaf, err := x509.ParseCertificate(c.cert.Certificate[0])
	require.NoError(t, err)
	return certs.PeerIDFromCertificate(leaf)
}

// theHost is where the listeners of the matrix are.
var theHost = net.IPv4(10, 0, 0, 66).To4()

// callerCA is a CA with an intermediate.
type callerCA struct {
	root, mid *x509.Certificate
	key       crypto.Signer // of mid
}

func newCallerCA(t *testing.T) callerCA {
	template := func(name string) *x509.Certificate {
		return &x509.Certificate{Subject: pkix.Name{CommonName: name}, IsCA: true, KeyUsage: x509.KeyUsageCertSign}
	}
	rootKey, midKey := newSigner(t), newSigner(t)
	root := sign(t, template("the root"), nil, rootKey.Public(), rootKey)
	return callerCA{root, sign(t, template("the intermediate"), root, midKey.Public(), rootKey), midKey}
}

func newSigner(t *testing.T) crypto.Signer {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	return key
}

// weakRSA takes a while to make, so all tests share it.
var weakRSA = sync.OnceValue(func() crypto.Signer {
	key, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		panic(err)
	}
	return key
})

// sign fills in what the template leaves open; without a parent it is signed by
// itself.
func sign(t *testing.T, template, parent *x509.Certificate, pub crypto.PublicKey, by crypto.Signer) *x509.Certificate {
	template.SerialNumber = big.NewInt(1)
	template.BasicConstraintsValid = true
	if template.NotBefore.IsZero() {
		template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	}
	if parent == nil {
		parent = template
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, pub, by)
	require.NoError(t, err)
	cert, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	return cert
}

// leaf issues a certificate for the host and for both roles, unless change says
// otherwise.
func (a callerCA) leaf(t *testing.T, pub crypto.PublicKey, change func(*x509.Certificate)) *x509.Certificate {
	template := hostTemplate()
	if change != nil {
		change(template)
	}
	return sign(t, template, a.mid, pub, a.key)
}

func hostTemplate() *x509.Certificate {
	return &x509.Certificate{
		Subject:     pkix.Name{CommonName: "the right name"},
		IPAddresses: []net.IP{theHost},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
}

// callers are everybody who comes, the right one first. friend is the key that
// is expected.
func callers(t *testing.T, friend crypto.Signer, ca callerCA) []caller {
	chain := func(key crypto.Signer, certificates ...*x509.Certificate) *tls.Certificate {
		c := &tls.Certificate{PrivateKey: key}
		for _, cert := range certificates {
			c.Certificate = append(c.Certificate, cert.Raw)
		}
		return c
	}
	issued := func(key crypto.Signer, change func(*x509.Certificate)) *tls.Certificate {
		return chain(key, ca.leaf(t, key.Public(), change), ca.mid)
	}
	alone := func(key crypto.Signer) *x509.Certificate { return sign(t, hostTemplate(), nil, key.Public(), key) }
	usage := func(u ...x509.ExtKeyUsage) func(*x509.Certificate) {
		return func(c *x509.Certificate) { c.ExtKeyUsage = u }
	}
	dates := func(from, to time.Duration) func(*x509.Certificate) {
		return func(c *x509.Certificate) { c.NotBefore, c.NotAfter = time.Now().Add(from), time.Now().Add(to) }
	}
	stranger, rogue := newSigner(t), newCallerCA(t)
	friendLeaf := ca.leaf(t, friend.Public(), nil)
	sameName := &x509.Certificate{Subject: ca.root.Subject, IsCA: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature, IPAddresses: []net.IP{theHost}}
	everyday := &x509.Certificate{Subject: friendLeaf.Subject, IPAddresses: []net.IP{theHost}, ExtKeyUsage: hostTemplate().ExtKeyUsage}
	p224, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	require.NoError(t, err)
	_, ed25519Key, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	// 1.3.101.113, which is Ed448, in place of 112: a key of a kind that
	// crypto/x509 does not know.
	ed448 := alone(ed25519Key)
	ed448.Raw = bytes.ReplaceAll(ed448.Raw, []byte{6, 3, 43, 101, 112}, []byte{6, 3, 43, 101, 113})
	long := issued(friend, nil)
	for range 100 {
		long.Certificate = append(long.Certificate, ca.mid.Raw)
	}

	const yes, no = true, false
	return []caller{
		{what: "the right peer", cert: issued(friend, nil), friend: yes, proof: yes, server: yes, client: yes},
		{what: "the right key, signed by itself", cert: chain(friend, alone(friend)), friend: yes, proof: yes},
		{what: "another peer of the CA", cert: issued(stranger, nil), proof: yes, server: yes, client: yes},

		{what: "another key", cert: chain(stranger, alone(stranger)), proof: yes},
		{what: "nothing", cert: nil},
		{what: "another protocol", cert: issued(friend, nil), alpn: "quicpeer/0"},
		{what: "the right certificate without its key", cert: chain(stranger, friendLeaf, ca.mid)},
		{what: "the right key, not first", cert: chain(stranger, alone(stranger), friendLeaf, ca.mid, ca.root), proof: yes},
		{what: "the right key first, not its own", cert: chain(stranger, friendLeaf, alone(stranger))},
		{what: "expired", cert: issued(friend, dates(-2*time.Hour, -time.Hour)), friend: yes, proof: yes},
		{what: "not valid yet", cert: issued(friend, dates(time.Hour, 2*time.Hour)), friend: yes, proof: yes},
		{what: "another CA of the same name", cert: chain(stranger, rogue.leaf(t, stranger.Public(), nil), rogue.mid, rogue.root), proof: yes},
		{what: "another CA, and ours behind it", cert: chain(stranger, rogue.leaf(t, stranger.Public(), nil), ca.mid, ca.root), proof: yes},
		{what: "its own CA, of our CA's name", cert: chain(stranger, sign(t, sameName, nil, stranger.Public(), stranger)), proof: yes},
		{what: "issued by a peer", cert: chain(stranger, sign(t, everyday, friendLeaf, stranger.Public(), friend), friendLeaf, ca.mid), proof: yes},
		{what: "without the intermediate", cert: chain(stranger, ca.leaf(t, stranger.Public(), nil)), proof: yes},
		{what: "the root's certificate without its key", cert: chain(stranger, ca.root)},
		{what: "the intermediate itself, no host", cert: chain(ca.key, ca.mid), proof: yes, client: yes},
		{what: "issued for listeners", cert: issued(stranger, usage(x509.ExtKeyUsageServerAuth)), proof: yes, server: yes},
		{what: "issued for dialers", cert: issued(stranger, usage(x509.ExtKeyUsageClientAuth)), proof: yes, client: yes},
		{what: "issued for neither", cert: issued(stranger, usage(x509.ExtKeyUsageCodeSigning)), proof: yes},
		{what: "issued for another host", cert: issued(stranger, func(c *x509.Certificate) { c.IPAddresses[0] = net.IPv4(10, 0, 0, 67) }), proof: yes, client: yes},
		{what: "RSA of 1024 bits", cert: issued(weakRSA(), nil)},
		// crypto/tls does not sign with these: somebody else's key does.
		{what: "P-224", cert: chain(stranger, ca.leaf(t, p224.Public(), nil), ca.mid)},
		{what: "Ed448", cert: chain(stranger, ed448)},
		{what: "a hundred certificates", cert: long},
	}
}

// dialing is what the caller dials with.
func (c caller) dialing() *tls.Config {
	return &tls.Config{
		NextProtos: []string{c.protocol()}, MinVersion: tls.VersionTLS13,
		InsecureSkipVerify: true, // it does not mind who we are
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			if c.cert == nil {
				return &tls.Certificate{}, nil
			}
			return c.cert, nil
		},
	}
}

// listening is what the caller listens with.
func (c caller) listening() *tls.Config {
	return &tls.Config{
		NextProtos: []string{c.protocol()}, MinVersion: tls.VersionTLS13, ClientAuth: tls.RequestClientCert,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.cert, nil },
	}
}

func (c caller) protocol() string {
	if c.alpn != "" {
		return c.alpn
	}
	return quicpeer.ALPN
}
