package certs

import (
	"crypto"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/x509"
	"encoding/base32"
	"fmt"
	"strings"
)

const (
	peerIDSize = sha256.Size
	// 256 bits in groups of 5: the last character carries one bit.
	peerIDTextSize = 52
)

// base32Alphabet is the one of RFC 4648 section 6, in lower case.
const base32Alphabet = "abcdefghijklmnopqrstuvwxyz234567"

var peerIDEncoding = base32.NewEncoding(base32Alphabet).WithPadding(base32.NoPadding)

// PeerID names a peer by its key: the SHA-256 of the public key's
// SubjectPublicKeyInfo (RFC 5280, section 4.1.2.7). It is comparable and may
// be a map key. The zero value names nobody.
type PeerID [peerIDSize]byte

// PeerIDFromPublicKey returns the id of a public key. It fails for a key of
// a type that no X.509 certificate can carry.
func PeerIDFromPublicKey(key crypto.PublicKey) (PeerID, error) {
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return PeerID{}, fmt.Errorf("certs: no peer id for this public key: %w", err)
	}
	return sha256.Sum256(der), nil
}

// PeerIDFromCertificate returns the id of the certificate's key.
func PeerIDFromCertificate(cert *x509.Certificate) PeerID {
	return sha256.Sum256(cert.RawSubjectPublicKeyInfo)
}

// ParsePeerID reads the text form of a peer id, in lower or upper case. The
// error, a *[PeerIDError], says what is wrong and where.
func ParsePeerID(s string) (PeerID, error) {
	var id PeerID
	// The characters come before the length: a space or a dash in the middle
	// is the better explanation of a length that is off.
	for i, r := range s {
		if problem := checkBase32(r); problem != "" {
			return id, &PeerIDError{Position: i + 1, Problem: problem}
		}
	}
	if len(s) != peerIDTextSize {
		return id, &PeerIDError{Problem: fmt.Sprintf("%d characters where a peer id has %d", len(s), peerIDTextSize)}
	}
	lower := []byte(strings.ToLower(s))
	// The last character has one bit of the id and four that must be zero,
	// or several texts would be the same id.
	if last := lower[peerIDTextSize-1]; last != 'a' && last != 'q' {
		return id, &PeerIDError{Position: peerIDTextSize, Problem: fmt.Sprintf("%q cannot be the last character of a peer id, which is a or q", last)}
	}
	if _, err := peerIDEncoding.Decode(id[:], lower); err != nil {
		panic("certs: BUG: checked base32 does not decode: " + err.Error())
	}
	return id, nil
}

// checkBase32 says what is wrong with a character, or "" if nothing is.
func checkBase32(r rune) (problem string) {
	switch {
	case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '2' && r <= '7':
		return ""
	case r == '0':
		return "the digit 0 is not used, perhaps the letter o is meant"
	case r == '1':
		return "the digit 1 is not used, perhaps the letter l or i is meant"
	case r == '8':
		return "the digit 8 is not used, perhaps the letter b is meant"
	case r == '=':
		return "a peer id is written without padding"
	}
	return fmt.Sprintf("%q is not used, only a to z and 2 to 7 are", r)
}

// String returns the text form: 52 lower-case characters.
func (id PeerID) String() string { return peerIDEncoding.EncodeToString(id[:]) }

// IsZero reports whether id is the zero value, which names nobody.
func (id PeerID) IsZero() bool { return id == PeerID{} }

// Equal reports whether both ids are the same. Its time does not depend on
// where they differ. Ids are public, so this is caution, not necessity; ==
// means the same.
func (id PeerID) Equal(other PeerID) bool {
	return subtle.ConstantTimeCompare(id[:], other[:]) == 1
}

// MarshalText implements [encoding.TextMarshaler] with the text form.
func (id PeerID) MarshalText() ([]byte, error) {
	return peerIDEncoding.AppendEncode(nil, id[:]), nil
}

// UnmarshalText implements [encoding.TextUnmarshaler]; see [ParsePeerID].
func (id *PeerID) UnmarshalText(text []byte) error {
	parsed, err := ParsePeerID(string(text))
	if err != nil {
		return err
	}
	*id = parsed
	return nil
}

// PeerIDError says why a text is not a peer id.
type PeerIDError struct {
	Position int // of the offending character, from 1; 0 if it is not about one
	Problem  string
}

func (e *PeerIDError) Error() string {
	if e.Position == 0 {
		return "certs: not a peer id: " + e.Problem
	}
	return fmt.Sprintf("certs: not a peer id: character %d: %s", e.Position, e.Problem)
}
