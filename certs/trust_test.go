package certs

import (
	"crypto/x509"
	"errors"
	"fmt"
	"path/filepath"
	"testing"
)

// Every trust value, in both roles, with a peer it trusts and one it does not,
// in real handshakes.
func TestTrustInHandshakes(t *testing.T) {
	a := newAuthority(t)
	me := newIdentityForTest(t)
	friend := a.issue(t, x509.Certificate{DNSNames: []string{"friend.test"}})
	stranger := newIdentityForTest(t)
	known := func() Trust {
		f, err := KnownPeers(write(t, "known", fmt.Sprintf("friend.test:4433 %s\n", friend.ID())))
		wantNoError(t, err, "known peers")
		return f
	}
	onlyFriend := TrustFunc(func(p Peer) error {
		if p.ID != friend.ID() || len(p.Certificates) == 0 || p.Incoming == (p.Name != "") {
			return errors.New("not my friend")
		}
		return nil
	})

	for _, c := range []struct {
		what             string
		trust            Trust
		friend, stranger bool
	}{
		{"ids", IDs(friend.ID()), true, false},
		{"several ids", IDs(me.ID(), friend.ID()), true, false},
		{"ids of nothing", IDs(), false, false},
		{"the zero id", IDs(PeerID{}), false, false},
		{"known peers", known(), true, false},
		{"CA", CA(a.pool), true, false},
		{"CA without pool", CA(nil), false, false},
		{"callback", onlyFriend, true, false},
		{"no callback", TrustFunc(nil), false, false},
		{"anyone", Anyone(), true, true},
		{"nil", nil, false, false},
		{"nil file", (*KnownPeersFile)(nil), false, false},
		{"zero file", &KnownPeersFile{}, false, false},
		{"any of", AnyOf(IDs(me.ID()), known(), CA(a.pool)), true, false},
		{"any of, none fits", AnyOf(IDs(me.ID()), IDs()), false, false},
		{"any of nothing", AnyOf(), false, false},
		{"any of nil", AnyOf(nil), false, false},
		{"all of", AllOf(IDs(friend.ID()), known(), CA(a.pool), Anyone()), true, false},
		{"all of, one does not fit", AllOf(Anyone(), IDs(me.ID())), false, false},
		{"all of nothing", AllOf(), false, false},
		{"all of nil", AllOf(Anyone(), nil), false, false},
	} {
		for peer, ok := range map[*Identity]bool{friend: c.friend, stranger: c.stranger} {
			// me dials peer.
			o := handshake(t, me.ClientTLS(testALPN, c.trust, "friend.test:4433"), peer.ServerTLS(testALPN, Anyone(), false))
			if ok {
				wantNoError(t, o.clientErr, c.what+", dialing")
				p, shown := PeerFromState(o.client)
				want(t, shown && p.ID == peer.ID(), "the peer's id from the state")
			} else {
				e := wantError[*UntrustedError](t, o.clientErr, c.what+", dialing")
				want(t, e.Peer == peer.ID() && e.Name == "friend.test:4433" && !e.Incoming, "who was refused: %+v", e)
				want(t, o.serverErr != nil, "the peer notices")
			}
			// peer dials me.
			o = handshake(t, peer.ClientTLS(testALPN, IDs(me.ID()), "me:1"), me.ServerTLS(testALPN, c.trust, false))
			if ok {
				wantNoError(t, o.serverErr, c.what+", incoming")
				wantNoError(t, o.clientErr, c.what+", incoming, at the peer")
				p, shown := PeerFromState(o.server)
				want(t, shown && p.ID == peer.ID(), "the peer's id from the state")
			} else {
				e := wantError[*UntrustedError](t, o.serverErr, c.what+", incoming")
				want(t, e.Peer == peer.ID() && e.Name == "" && e.Incoming, "who was refused: %+v", e)
				want(t, o.clientErr != nil, "the peer notices")
			}
		}
	}
}

func TestUntrustedErrorTellsWhatToDo(t *testing.T) {
	me, peer := newIdentityForTest(t), newIdentityForTest(t)
	path := write(t, "known", "other "+me.ID().String()+"\n")
	known, err := KnownPeers(path)
	wantNoError(t, err, "known peers")
	id := peer.ID().String()

	wantText(t, Verify(IDs(me.ID()), peerOf(peer, "host:1")), id, `"host:1"`, me.ID().String(), "add its id")
	wantText(t, Verify(IDs(me.ID(), PeerID{1}), peerOf(peer, "")), "incoming", "one of 2 given ids")
	wantText(t, Verify(known, peerOf(peer, "")), path, "add the line", id)
	wantText(t, Verify(nil, Peer{ID: peer.ID()}), "peer "+id+" is not", "no trust is configured")
	wantText(t, Verify(AnyOf(IDs(me.ID()), known), peerOf(peer, "")), me.ID().String()+", or an id in "+path)
	wantText(t, verifyState(Anyone(), Peer{Name: "x"}, false), `without a certificate at "x"`)
	wantText(t, verifyState(Anyone(), Peer{Incoming: true}, false), "incoming peer without a certificate")

	// The cause of a callback is not lost, alone or among others.
	cause, other := errors.New("cause"), errors.New("other")
	refuse := func(err error) Trust { return TrustFunc(func(Peer) error { return err }) }
	for _, trust := range []Trust{
		refuse(cause),
		AllOf(Anyone(), refuse(cause)),
		AnyOf(refuse(other), IDs(), refuse(cause)),
		refuse(fmt.Errorf("mine: %w", &UntrustedError{Peer: peer.ID(), Err: cause})),
	} {
		err := Verify(trust, peerOf(peer, "host:1"))
		e := wantError[*UntrustedError](t, err, "wrapped")
		want(t, e.Peer == peer.ID() && errors.Is(err, cause), "peer and cause: %v", err)
	}
	wantText(t, Verify(AnyOf(refuse(other), refuse(cause)), peerOf(peer, "")), "other; cause")
}

func TestSNITrust(t *testing.T) {
	a := newAuthority(t)
	file, err := KnownPeers(filepath.Join(t.TempDir(), "known"))
	wantNoError(t, err, "known peers")
	for _, c := range []struct {
		what  string
		trust Trust
		wants bool
	}{
		{"nil", nil, false},
		{"ids", IDs(PeerID{1}), false},
		{"anyone", Anyone(), false},
		{"known peers", file, false},
		{"callback", TrustFunc(func(Peer) error { return nil }), false},
		{"CA", CA(a.pool), true},
		{"CA that trusts nobody", CA(nil), false},
		{"any of", AnyOf(IDs(), file), false},
		{"any of with CA", AnyOf(IDs(), CA(a.pool)), true},
		{"all of with CA", AllOf(CA(a.pool), file), true},
		{"nested", AllOf(file, AnyOf(Anyone(), AllOf(CA(a.pool)))), true},
		{"one's own", sniFunc{}, true},
	} {
		want(t, wantsSNI(c.trust) == c.wants, "%s wants SNI: %v", c.what, c.wants)
	}
}

type sniFunc struct{ TrustFunc }

func (sniFunc) WantsSNI() bool { return true }

// A combination does not change with the slice that it was made of.
func TestCombinationIsItsOwn(t *testing.T) {
	of := []Trust{IDs(PeerID{1})}
	anyOf, allOf := AnyOf(of...), AllOf(of...)
	of[0] = Anyone()
	want(t, anyOf.Verify(Peer{ID: PeerID{2}}) != nil && allOf.Verify(Peer{ID: PeerID{2}}) != nil, "still only the given id")
}
