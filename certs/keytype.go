package certs

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"fmt"
)

// What this implementation chose.
const (
	// RSA below this is too weak to name a peer.
	minRSABits = 2048
	// RSA above this buys no security that the rest of the handshake has, but
	// costs the verifier, who does not yet know the peer, time and memory.
	maxRSABits = 4096
)

// UnsupportedKeyError reports a key, one's own or a peer's, of a type or size
// that this package does not work with.
type UnsupportedKeyError struct {
	Key string // what it is, such as "RSA of 1024 bits"
}

func (e *UnsupportedKeyError) Error() string {
	return fmt.Sprintf("certs: %s is not supported as a peer's key: use ECDSA P-256 (or P-384, P-521, Ed25519, RSA of %d to %d bits)",
		e.Key, minRSABits, maxRSABits)
}

// checkKey accepts the keys that can sign a TLS 1.3 handshake (RFC 8446,
// section 4.2.3) within the limits above.
func checkKey(key crypto.PublicKey) error {
	switch key := key.(type) {
	case *ecdsa.PublicKey:
		switch key.Curve {
		case elliptic.P256(), elliptic.P384(), elliptic.P521():
			return nil
		case nil:
			return &UnsupportedKeyError{"ECDSA without a curve"}
		}
		return &UnsupportedKeyError{"ECDSA " + key.Curve.Params().Name}
	case ed25519.PublicKey:
		return nil
	case *rsa.PublicKey:
		bits := 0
		if key.N != nil {
			bits = key.N.BitLen()
		}
		if bits < minRSABits || bits > maxRSABits {
			return &UnsupportedKeyError{fmt.Sprintf("RSA of %d bits", bits)}
		}
		return nil
	case nil:
		// What crypto/x509 leaves for an algorithm that it does not know.
		return &UnsupportedKeyError{"a key of unknown type"}
	}
	return &UnsupportedKeyError{fmt.Sprintf("a key of type %T", key)}
}
