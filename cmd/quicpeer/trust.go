package main

import (
	"crypto/x509"
	"fmt"
	"os"
	"strings"

	"github.com/oneportnet/quicpeer/certs"
)

// trustHelp explains the values that parseTrust takes.
const trustHelp = `  PEERID      the peer with this id, 52 letters and digits ('quicpeer id' shows it)
  known       the peers in the file of known peers; a peer that is dialed for the
              first time is added to it, later its key must be the same
  known:FILE  the same with another file
  ca:FILE     peers with a certificate from a CA in this PEM file; one that is
              dialed must have its host name in it
  anyone      every peer that has a key: encrypted, but you do not know to whom`

// trustSet is whom the user trusts: any of its parts will do. The zero value
// trusts nobody.
type trustSet struct {
	parts  []certs.Trust
	words  []string // the parts, for people
	anyone bool
}

// add adds one value of --trust.
func (t *trustSet) add(spec string) error {
	trust, words, err := parseTrust(spec)
	if err != nil {
		return err
	}
	if t.anyone || spec == "anyone" && len(t.parts) > 0 {
		return usagef("trust: 'anyone' makes any other trust pointless; give it alone, or not at all")
	}
	t.anyone = spec == "anyone"
	t.parts, t.words = append(t.parts, trust), append(t.words, words)
	return nil
}

// trust returns the set as it is now. Incoming peers that it does not cover
// are told to refused, which is called during handshakes and must not wait.
func (t *trustSet) trust(refused func(certs.PeerID)) certs.Trust {
	// AnyOf asks in order: whoever comes to the last part is trusted by none.
	last := certs.TrustFunc(func(p certs.Peer) error {
		if p.Incoming {
			refused(p.ID)
		}
		return &certs.UntrustedError{Peer: p.ID, Name: p.Name, Incoming: p.Incoming}
	})
	return certs.AnyOf(append(t.parts[:len(t.parts):len(t.parts)], last)...)
}

func (t *trustSet) String() string { return strings.Join(t.words, "; ") }

// parseTrust reads one value of --trust.
func parseTrust(spec string) (trust certs.Trust, words string, err error) {
	kind, file, hasFile := strings.Cut(spec, ":")
	if hasFile && file == "" {
		return nil, "", usagef("trust: %q needs a file after the colon", spec)
	}
	switch {
	case spec == "anyone":
		return certs.Anyone(), "anyone", nil
	case kind == "known":
		if !hasFile {
			if file, err = configPath(knownPeersFile, "name the file with --trust known:FILE"); err != nil {
				return nil, "", err
			}
			// The file itself appears with the first peer in it.
			if err := makeParent(file); err != nil {
				return nil, "", err
			}
		}
		known, err := certs.KnownPeers(file)
		if err != nil {
			return nil, "", err
		}
		return known, "the known peers in " + file, nil
	case kind == "ca" && hasFile:
		pool, err := loadCA(file)
		if err != nil {
			return nil, "", err
		}
		return certs.CA(pool), "the CAs in " + file, nil
	case kind == "ca":
		return nil, "", usagef("trust: 'ca' needs a file: ca:FILE")
	}
	id, err := certs.ParsePeerID(spec)
	if err != nil {
		return nil, "", usagef("trust: %q is not known, known:FILE, ca:FILE, anyone, or a peer id (%w)", spec, err)
	}
	return certs.IDs(id), "peer " + id.String(), nil
}

func loadCA(file string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("trust: the CA file: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("trust: there is no PEM certificate in %s", file)
	}
	return pool, nil
}
