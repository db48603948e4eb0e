package certs_test

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/oneportnet/quicpeer/certs"
)

func ExampleLoadOrCreate() {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)

	first, err := certs.LoadOrCreate(filepath.Join(dir, "peer.key"))
	if err != nil {
		fmt.Println(err)
		return
	}
	again, err := certs.LoadOrCreate(filepath.Join(dir, "peer.key"))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(first.ID() == again.ID())
	// Output: true
}

func ExampleFromKey() {
	seed := make([]byte, ed25519.SeedSize) // a real one is random
	id, err := certs.FromKey(ed25519.NewKeyFromSeed(seed))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(id)
	// Output: identity gopc76ixmmcqpnveeo244ccofbor7js5soz6e6tbsxj3x26jvyrq
}

func ExampleParsePeerID() {
	_, err := certs.ParsePeerID("qcrgwjbyj2qofqa5blqargx3m04tofmszrr7d7je7zxyg3o3dzjq")
	fmt.Println(err)
	// Output: certs: not a peer id: character 26: the digit 0 is not used, perhaps the letter o is meant
}

func ExampleIDs() {
	friend, _ := certs.ParsePeerID("qcrgwjbyj2qofqa5blqargx3mo4tofmszrr7d7je7zxyg3o3dzjq")
	trust := certs.IDs(friend)
	fmt.Println(certs.Verify(trust, certs.Peer{ID: friend, Name: "example.org:4433"}))
	// Output: <nil>
}

func ExampleKnownPeers() {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	trust, err := certs.KnownPeers(filepath.Join(dir, "known_peers"))
	if err != nil {
		fmt.Println(err)
		return
	}

	// The first peer met under the name is trusted, and learned.
	peer := certs.Peer{ID: certs.PeerID{1}, Name: "example.org:4433"}
	fmt.Println(certs.Learn(trust, peer))

	// From then on no other.
	peer.ID = certs.PeerID{2}
	var changed *certs.KeyChangedError
	fmt.Println(errors.As(certs.Verify(trust, peer), &changed))
	// Output:
	// <nil>
	// true
}

func ExampleAnyOf() {
	pinned := certs.PeerID{1}
	blocked := certs.PeerID{2}
	trust := certs.AllOf(
		certs.AnyOf(certs.IDs(pinned, blocked), certs.TrustFunc(askUser)),
		certs.TrustFunc(func(p certs.Peer) error {
			if p.ID == blocked {
				return errors.New("blocked")
			}
			return nil
		}),
	)
	fmt.Println(certs.Verify(trust, certs.Peer{ID: pinned}) == nil)
	fmt.Println(certs.Verify(trust, certs.Peer{ID: blocked}) == nil)
	// Output:
	// true
	// false
}

func askUser(certs.Peer) error { return errors.New("the user said no") }
