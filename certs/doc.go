// Package certs holds what a peer is and whom it trusts: identities, peer
// ids, trust, and the TLS configurations made of them. It knows nothing of
// QUIC and imports the standard library only.
//
// # Identity
//
// An [Identity] is a private key. [LoadOrCreate] is the call to start with:
//
//	id, err := certs.LoadOrCreate("peer.key")
//
// The key is ECDSA P-256, because every TLS stack verifies it; a file or a
// caller may bring Ed25519, ECDSA P-384 and P-521, and RSA of 2,048 to 4,096
// bits instead. The key is what lasts. The self-signed certificate around it
// is made anew at every start, and nobody should pin it. Where a CA decides
// who belongs, [FromTLSCertificate] takes the certificate that it issued.
//
// The key file is PEM: one PKCS#8 block "PRIVATE KEY", then, if a CA issued
// a certificate for the key, its chain in blocks "CERTIFICATE", leaf first.
// It is written with mode 0600 and refused when others can read it, on
// systems that have such modes. A file of known peers is refused when others
// can change it. The directory is not looked at: who can write there can put
// other files in their place.
//
// # Peer ids
//
// A [PeerID] names a key, and thereby a peer:
//
//	id   = SHA-256(SubjectPublicKeyInfo, DER)       32 bytes
//	text = base32(id), lower case, no padding       52 characters
//
// Ids are public: anyone who connects to a listener learns its id. So it does
// no harm that the time of a comparison tells how much of two ids is the same;
// what has to be kept is the key, and only TLS works with that. The text
// form has no checksum, so it is to be copied, not typed from paper;
// [ParsePeerID] says which character is wrong when one cannot belong.
//
// # Trust
//
// Both sides present a certificate, and both ask a [Trust] value about the
// peer's. These are the choices, and the first that fits is the best:
//
//	IDs(a, b)          these peers and no others
//	KnownPeers(file)   dialing: the key first met under a name, from then on
//	                   only that key; incoming: any key in the file
//	CA(pool)           whoever holds a certificate of these CAs, for the host
//	                   name dialed
//	TrustFunc(f)       whoever f accepts
//	Anyone()           every peer that has a key at all
//
// [AnyOf] and [AllOf] combine them. Nothing else means everyone: nil, IDs()
// of nothing, AnyOf() and AllOf() of nothing, and CA(nil) trust nobody.
//
// Trust is checked in [crypto/tls.Config.VerifyConnection], which also runs
// when a session is resumed. There it is asked about a certificate before
// the peer has proved that it holds the key, because crypto/tls reads the
// proof afterwards. A Trust must therefore change nothing when asked.
// Learning a new peer is a second step, after the handshake:
//
//	config := id.ClientTLS(alpn, trust, "example.org:4433")
//	… handshake …
//	peer, _ := certs.PeerFromState(state)
//	peer.Name = "example.org:4433"
//	err := certs.Learn(trust, peer)     // close the connection if not nil
//
// Otherwise anyone on the path could show a stranger's certificate, fail the
// proof, and still leave that key in the file.
//
// A refused peer is an [UntrustedError], which says who came, who was
// expected, and what to do. A key that differs from the one in the file of
// known peers is in addition a [KeyChangedError]. Both travel through
// crypto/tls unharmed; use [errors.As].
//
// # TLS
//
// [Identity.ServerTLS] and [Identity.ClientTLS] give configurations for TLS
// 1.3 only, without session tickets or a client's session cache: a resumed
// session would not show that the peer still holds its key. A client sends
// the host name (SNI) only if a CA takes part in its trust, since the name is
// readable on the path and nothing else needs it. See [SNITrust].
//
// A listener may admit peers whose TLS stack cannot present a certificate.
// Such a peer is anonymous: it has no id, and Trust is never asked about it.
// A peer that presents a certificate is judged by it, and never falls back to
// being anonymous.
//
// # Limits
//
// A key file may have 64 KiB, a file of known peers 4 MiB, a name in it 260
// bytes; a lock on a file is waited for 5 s. The reasons stand at the
// constants.
package certs
