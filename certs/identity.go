package certs

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"
)

// What this implementation chose.
const (
	// A self-signed certificate is valid from a little before now, for peers
	// whose clock is behind. Peers of this package do not look at the dates of
	// a certificate that no CA judges; other stacks may.
	certificateBackdate = time.Hour
	// It is made at start and never renewed, so it has to outlive the process,
	// however long that runs.
	certificateLifetime = 10 * 365 * 24 * time.Hour
)

// Labels that keep the derived keys apart, from each other and from any other
// use of the secret. Changing one invalidates what was derived with it.
const (
	labelResetKey = "quicpeer/1 stateless reset key"
	labelTokenKey = "quicpeer/1 token key"
)

// Identity is a peer's private key with a certificate for it. It is immutable
// and safe for concurrent use. However it is printed, logged or marshaled, it
// shows its peer id and nothing else. The zero value has the zero id and is
// good for nothing else: its other methods panic.
type Identity struct {
	id PeerID
	// A function, because reflection cannot look into one. Package fmt prints
	// unexported fields of a struct without asking their methods, and follows
	// even pointers there, when the verb does not fit them.
	own func() *own
}

// own is what must not be shown. It does not change once the Identity is made.
type own struct {
	key    crypto.Signer
	secret []byte // the key itself, as the input of key derivation
	cert   tls.Certificate
	issued bool // cert came from a CA and is kept with the key
}

// Generate makes a new identity with an ECDSA P-256 key. It exists only in
// memory until [Identity.Save].
func Generate() (*Identity, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("certs: generate a key: %w", err)
	}
	return FromKey(key)
}

// FromKey makes an identity of a private key, with a new self-signed
// certificate. The key is an *[ecdsa.PrivateKey], an [ed25519.PrivateKey] or
// an *[rsa.PrivateKey]. A key that only a device can use will not do, since
// [Identity.ResetKey] and [Identity.TokenKey] derive from it.
func FromKey(key crypto.Signer) (*Identity, error) {
	id, err := newIdentity(key)
	if err != nil {
		return nil, err
	}
	id.own().cert, err = selfSigned(key, id.id, time.Now())
	if err != nil {
		return nil, err
	}
	return id, nil
}

// FromTLSCertificate makes an identity of a private key and a certificate
// chain, leaf first, that a CA issued for it. What the key may be is said at
// [FromKey]. The dates of the certificate are left to the peers to judge.
// What cert points to must not change afterwards.
func FromTLSCertificate(cert tls.Certificate) (*Identity, error) {
	if len(cert.Certificate) == 0 {
		return nil, errors.New("certs: no certificate given; FromKey makes an identity of a key alone")
	}
	leaf, err := x509.ParseCertificate(cert.Certificate[0])
	if err != nil {
		return nil, fmt.Errorf("certs: parse the certificate: %w", err)
	}
	key, ok := cert.PrivateKey.(crypto.Signer)
	if !ok {
		return nil, &UnsupportedKeyError{fmt.Sprintf("a private key of type %T", cert.PrivateKey)}
	}
	id, err := newIdentity(key)
	if err != nil {
		return nil, err
	}
	if PeerIDFromCertificate(leaf) != id.id {
		return nil, errors.New("certs: the certificate was not issued for this private key; the chain must begin with the peer's own certificate")
	}
	id.own().cert = cert
	id.own().cert.Leaf = leaf
	id.own().issued = true
	return id, nil
}

// newIdentity checks the key and leaves the certificate to the caller.
func newIdentity(key crypto.Signer) (*Identity, error) {
	secret, err := secretOf(key)
	if err != nil {
		return nil, err
	}
	id, err := PeerIDFromPublicKey(key.Public())
	if err != nil {
		return nil, err
	}
	o := &own{key: key, secret: secret}
	return &Identity{id: id, own: func() *own { return o }}, nil
}

// secretOf returns the number or seed that is the private key, free of any
// encoding that a later version might write differently.
func secretOf(key crypto.Signer) ([]byte, error) {
	switch key := key.(type) {
	case *ecdsa.PrivateKey:
		if err := checkKey(&key.PublicKey); err != nil {
			return nil, err
		}
		secret, err := key.Bytes()
		if err != nil {
			return nil, fmt.Errorf("certs: invalid ECDSA key: %w", err)
		}
		return secret, nil
	case ed25519.PrivateKey:
		if len(key) != ed25519.PrivateKeySize {
			return nil, fmt.Errorf("certs: an Ed25519 key has %d bytes, not %d", ed25519.PrivateKeySize, len(key))
		}
		return bytes.Clone(key.Seed()), nil
	case *rsa.PrivateKey:
		if err := checkKey(&key.PublicKey); err != nil {
			return nil, err
		}
		if err := key.Validate(); err != nil {
			return nil, fmt.Errorf("certs: invalid RSA key: %w", err)
		}
		return key.D.Bytes(), nil
	}
	return nil, &UnsupportedKeyError{fmt.Sprintf("a private key of type %T", key)}
}

// selfSigned returns a certificate that carries the public key through TLS.
// What it says besides the key has no meaning; it is filled in so that strict
// verifiers of other stacks find nothing amiss.
func selfSigned(key crypto.Signer, id PeerID, now time.Time) (tls.Certificate, error) {
	template := &x509.Certificate{
		// No SerialNumber: CreateCertificate draws a random one (RFC 5280,
		// section 4.1.2.2). No DNS name: nobody verifies one here.
		Subject:               pkix.Name{CommonName: id.String()},
		NotBefore:             now.Add(-certificateBackdate),
		NotAfter:              now.Add(certificateLifetime),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("certs: make the self-signed certificate: %w", err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("certs: parse the self-signed certificate: %w", err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, nil
}

// ID returns the peer id that others know this identity by.
func (id Identity) ID() PeerID { return id.id }

// Certificate returns the certificate with its private key. The caller must
// not change what it points to.
func (id *Identity) Certificate() tls.Certificate { return id.own().cert }

// ResetKey derives the key of stateless reset tokens (RFC 9000, section
// 10.3.2) for the address that the peer is bound to, in any form that is the
// same after a restart. A restarted process can so reset the connections of
// the one before. Two live processes must not share identity and address
// text: each would tell anyone who asks how to reset the other's connections.
func (id *Identity) ResetKey(bound string) [32]byte { return id.derive(labelResetKey, bound) }

// TokenKey derives the key that protects address validation tokens (RFC 9000,
// section 8.1.3) for the address that the peer is bound to, so that the tokens
// of the process before a restart stay valid.
func (id *Identity) TokenKey(bound string) [32]byte { return id.derive(labelTokenKey, bound) }

// derive is HKDF-SHA256 (RFC 5869) without salt: the secret is uniform enough
// to be its own. The zero byte ends the label, so that no label and address
// read like another pair.
func (id *Identity) derive(label, bound string) [32]byte {
	key, err := hkdf.Key(sha256.New, id.own().secret, nil, label+"\x00"+bound, 32)
	if err != nil {
		panic("certs: BUG: HKDF refused 32 bytes: " + err.Error())
	}
	return [32]byte(key)
}

// String returns "identity" and the peer id.
func (id Identity) String() string { return "identity " + id.id.String() }

// GoString returns what String does.
func (id Identity) GoString() string { return id.String() }

// Format writes what String returns, whatever the verb: %x or %d must not
// fall back to printing the fields.
func (id Identity) Format(f fmt.State, _ rune) { io.WriteString(f, id.String()) }

// LogValue implements [slog.LogValuer] with the peer id.
func (id Identity) LogValue() slog.Value { return slog.StringValue(id.id.String()) }

// MarshalText returns the peer id, which is also what JSON shows. There is no
// way back: an identity is stored by [Identity.Save].
func (id Identity) MarshalText() ([]byte, error) { return id.id.MarshalText() }
