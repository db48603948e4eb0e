package certs

import (
	"crypto/tls"
	"errors"
	"strings"
)

// ServerTLS returns the configuration of a listener with this identity, for
// peers that t trusts and that speak the protocol alpn. With allowAnonymous,
// peers without a certificate are let in too, without asking t.
//
// The caller may change what it gets. It is to keep VerifyConnection, without
// which any key would do.
func (id *Identity) ServerTLS(alpn string, t Trust, allowAnonymous bool) *tls.Config {
	config := id.baseTLS(alpn)
	config.Certificates = []tls.Certificate{id.own().cert}
	// Not RequireAndVerify…: crypto/tls would verify a CA chain, which most
	// peers do not have. t verifies instead.
	config.ClientAuth = tls.RequireAnyClientCert
	if allowAnonymous {
		config.ClientAuth = tls.RequestClientCert
	}
	config.VerifyConnection = func(state tls.ConnectionState) error {
		peer, ok := PeerFromState(state)
		if !ok && allowAnonymous {
			return nil
		}
		peer.Incoming = true
		return verifyState(t, peer, ok)
	}
	return config
}

// ClientTLS returns the configuration for dialing name, a host name or address
// with or without port, with this identity. The peer is to be trusted by t and
// to speak the protocol alpn. After the handshake, call [Learn] with the same
// t and name.
//
// ServerName is empty unless t wants SNI, see [SNITrust]. The caller may change
// what it gets. It is to keep VerifyConnection, without which any key would do.
func (id *Identity) ClientTLS(alpn string, t Trust, name string) *tls.Config {
	config := id.baseTLS(alpn)
	// Not Certificates: of those, crypto/tls would withhold one whose issuer
	// the server does not list, and a self-signed one has an issuer that no
	// server knows.
	config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		return &id.own().cert, nil
	}
	// This skips the verification against the system's CAs and the host name,
	// and nothing else: the peer must still prove that it holds the key of its
	// certificate. Whether that key is trusted, VerifyConnection decides, which
	// crypto/tls calls in every handshake, skipping or not, resumed or not.
	// VerifyPeerCertificate would not do: it is not called on resumption.
	config.InsecureSkipVerify = true
	config.VerifyConnection = func(state tls.ConnectionState) error {
		peer, ok := PeerFromState(state)
		peer.Name = name
		return verifyState(t, peer, ok)
	}
	if wantsSNI(t) {
		// crypto/tls sends no address as SNI (RFC 6066, section 3).
		host, _ := splitName(name)
		config.ServerName = strings.TrimRight(host, ".")
	}
	return config
}

// baseTLS is what both roles have in common.
func (id *Identity) baseTLS(alpn string) *tls.Config {
	return &tls.Config{
		NextProtos: []string{alpn},
		MinVersion: tls.VersionTLS13, // RFC 9001, section 4.2
		MaxVersion: tls.VersionTLS13,
		// No resumption: a peer proves its key every time, and a ticket, shown
		// again, would tell an observer that it is the same peer. The client
		// has no ClientSessionCache for the same reason.
		SessionTicketsDisabled: true,
	}
}

// verifyState is what VerifyConnection comes to in both roles.
func verifyState(t Trust, peer Peer, ok bool) error {
	if !ok {
		return refuse(peer, "a certificate", "", errors.New("certs: it presented none"))
	}
	if err := checkKey(peer.Certificates[0].PublicKey); err != nil {
		return refuse(peer, "", "", err)
	}
	return Verify(t, peer)
}
