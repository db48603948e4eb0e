package main

import (
	"encoding/pem"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/oneportnet/quicpeer/certs"
)

func peerOf(t *testing.T) (certs.Peer, *certs.Identity) {
	t.Helper()
	id, err := certs.Generate()
	require.NoError(t, err)
	return certs.Peer{ID: id.ID(), Incoming: true}, id
}

func TestTrustIsTheSumOfItsParts(t *testing.T) {
	known, _ := peerOf(t)
	dialed, _ := peerOf(t)
	stranger, _ := peerOf(t)
	dialed.Incoming, dialed.Name = false, "example.org:9000"

	var refused []certs.PeerID
	var set trustSet
	file := filepath.Join(t.TempDir(), "known_peers")
	require.NoError(t, set.add(known.ID.String()))
	trust := func() certs.Trust { return set.trust(func(id certs.PeerID) { refused = append(refused, id) }) }
	require.NoError(t, certs.Verify(trust(), known))
	require.Error(t, certs.Verify(trust(), dialed))
	require.Empty(t, refused, "a peer that was dialed is no news to who dialed it")

	require.NoError(t, set.add("known:"+file))
	require.NoError(t, certs.Verify(trust(), known))
	require.NoError(t, certs.Learn(trust(), dialed), "learned on first use")
	require.FileExists(t, file)
	require.Error(t, certs.Verify(trust(), stranger))
	require.Equal(t, []certs.PeerID{stranger.ID}, refused)
	require.Equal(t, "peer "+known.ID.String()+"; the known peers in "+file, set.String())

	require.ErrorContains(t, set.add("anyone"), "pointless")
	set = trustSet{}
	require.NoError(t, set.add("anyone"))
	require.NoError(t, certs.Verify(trust(), stranger))
	require.Error(t, set.add("known:"+file))
}

func TestTrustInACA(t *testing.T) {
	_, id := peerOf(t)
	file := filepath.Join(t.TempDir(), "ca.pem")
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: id.Certificate().Certificate[0]})
	require.NoError(t, os.WriteFile(file, cert, 0o600))
	_, words, err := parseTrust("ca:" + file)
	require.NoError(t, err)
	require.Equal(t, "the CAs in "+file, words)
	require.NoError(t, os.WriteFile(file, []byte("nothing"), 0o600))
	_, _, err = parseTrust("ca:" + file)
	require.ErrorContains(t, err, "no PEM certificate")
	_, _, err = parseTrust("ca:" + file + ".missing")
	require.ErrorIs(t, err, os.ErrNotExist)
}
