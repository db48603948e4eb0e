package certs

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"slices"
)

// Peer is what a Trust is asked about.
type Peer struct {
	ID PeerID
	// Certificates is the chain that the peer presented, leaf first. ID is the
	// leaf's. Nothing in it has been verified.
	Certificates []*x509.Certificate
	// Name is the host name or address that was dialed, with the port if one
	// was given: "example.org:4433". It is "" for an incoming connection.
	Name string
	// Incoming says that the peer dialed.
	Incoming bool
}

// PeerFromState returns the peer at the other end of a TLS connection, without
// Name and Incoming, which TLS does not know. It reports false for an
// anonymous peer, one that presented no certificate.
func PeerFromState(state tls.ConnectionState) (Peer, bool) {
	if len(state.PeerCertificates) == 0 {
		return Peer{}, false
	}
	return Peer{
		ID:           PeerIDFromCertificate(state.PeerCertificates[0]),
		Certificates: state.PeerCertificates,
	}, true
}

// Trust decides who is trusted. Implementations are safe for concurrent use.
//
// Verify returns nil if the peer is trusted, preferably an *[UntrustedError]
// if not. It is called during the handshake, before the peer has proved that
// it holds the key, and again on live connections whenever trust has changed.
// So it changes nothing, and it does not take long.
type Trust interface {
	Verify(Peer) error
}

// SNITrust is a Trust that judges the host name in the peer's certificate, and
// therefore may want it sent to the peer as SNI, so that it can choose among
// its certificates. Without it, the name is not sent. [AnyOf] and [AllOf] want
// it if one of theirs does.
type SNITrust interface {
	Trust
	WantsSNI() bool
}

// learner is a Trust that learns.
type learner interface {
	Trust
	// judge is Verify, and returns what Learn has to do after it; nil for
	// nothing.
	judge(Peer) (learn func() error, err error)
}

var (
	_ Trust    = TrustFunc(nil)
	_ Trust    = idSet(nil)
	_ Trust    = anyone{}
	_ SNITrust = (*ca)(nil)
	_ SNITrust = anyOf(nil)
	_ SNITrust = allOf(nil)
	_ learner  = (*KnownPeersFile)(nil)
	_ learner  = anyOf(nil)
	_ learner  = allOf(nil)
)

// Verify asks t about p. A nil Trust trusts nobody. An error always has an
// *[UntrustedError] in it.
func Verify(t Trust, p Peer) error {
	_, err := judge(t, p)
	return refuseFor(p, err)
}

// Learn tells t that p has completed a handshake, and so proved that it holds
// its key. Call it for every peer dialed; it matters where a file of known
// peers takes part in t and does not know the peer's name yet. It asks t once
// more. If the error is not nil, the peer is not trusted after all, or could
// not be remembered, and the connection must be closed.
func Learn(t Trust, p Peer) error {
	learn, err := judge(t, p)
	if err == nil && learn != nil {
		err = learn()
	}
	return refuseFor(p, err)
}

func judge(t Trust, p Peer) (learn func() error, err error) {
	switch t := t.(type) {
	case nil:
		return nil, refuse(p, "nobody, because no trust is configured", "configure whom to trust", nil)
	case learner:
		return t.judge(p)
	}
	return nil, t.Verify(p)
}

func wantsSNI(t Trust) bool {
	s, ok := t.(SNITrust)
	return ok && s.WantsSNI()
}

// TrustFunc is a callback as a Trust. A nil one trusts nobody.
type TrustFunc func(Peer) error

// Verify calls f.
func (f TrustFunc) Verify(p Peer) error {
	if f == nil {
		return Verify(nil, p)
	}
	return f(p)
}

// IDs trusts the peers with these ids and no others. The zero id is never
// trusted.
func IDs(ids ...PeerID) Trust {
	set := make(idSet, len(ids))
	for _, id := range ids {
		if !id.IsZero() {
			set[id] = struct{}{}
		}
	}
	return set
}

// idSet is a map: ids are public, and nothing is gained by learning which of
// them begin alike, so the time of a lookup may depend on them.
type idSet map[PeerID]struct{}

func (s idSet) Verify(p Peer) error {
	if _, ok := s[p.ID]; ok {
		return nil
	}
	const remedy = "add its id to the trusted ids"
	if len(s) == 1 {
		for id := range s {
			return refuse(p, id.String(), remedy, nil)
		}
	}
	return refuse(p, fmt.Sprintf("one of %d given ids", len(s)), remedy, nil)
}

// Anyone trusts every peer that has a key. The connection is encrypted, but to
// whom is unknown: on the dialing side, anyone on the path can answer.
func Anyone() Trust { return anyone{} }

type anyone struct{}

func (anyone) Verify(Peer) error { return nil }

// AnyOf trusts whom one of the given values trusts. They are asked in this
// order, and the first one that accepts decides: those after it do not learn,
// and those before it are overruled, even a file of known peers that has
// another key. AnyOf of nothing trusts nobody.
func AnyOf(of ...Trust) Trust { return anyOf(slices.Clone(of)) }

type anyOf []Trust

func (a anyOf) Verify(p Peer) error {
	_, err := a.judge(p)
	return err
}

func (a anyOf) judge(p Peer) (learn func() error, err error) {
	if len(a) == 0 {
		return judge(nil, p)
	}
	var refusals []error
	for _, t := range a {
		learn, err := judge(t, p)
		if err == nil {
			return learn, nil
		}
		refusals = append(refusals, err)
	}
	return nil, refuseAll(p, refusals)
}

func (a anyOf) WantsSNI() bool { return slices.ContainsFunc(a, wantsSNI) }

// AllOf trusts whom all of the given values trust. A file of known peers among
// them learns a peer only if the others trust it. AllOf of nothing trusts
// nobody.
func AllOf(of ...Trust) Trust { return allOf(slices.Clone(of)) }

type allOf []Trust

func (a allOf) Verify(p Peer) error {
	_, err := a.judge(p)
	return err
}

func (a allOf) judge(p Peer) (learn func() error, err error) {
	if len(a) == 0 {
		return judge(nil, p)
	}
	var steps []func() error
	for _, t := range a {
		learn, err := judge(t, p)
		if err != nil {
			return nil, err
		}
		if learn != nil {
			steps = append(steps, learn)
		}
	}
	return func() error {
		for _, step := range steps {
			if err := step(); err != nil {
				return err
			}
		}
		return nil
	}, nil
}

func (a allOf) WantsSNI() bool { return slices.ContainsFunc(a, wantsSNI) }
