package certs

import (
	"crypto/x509"
	"errors"
	"net"
	"strings"
)

// CA trusts peers whose certificate chain leads to the pool, is valid now, and
// was issued for the role that the peer plays: server when it was dialed,
// client when it comes in. A dialed peer's certificate must also be for the
// host dialed ([Peer.Name] without the port). An incoming peer's name does not
// count: whoever holds a client certificate of the pool is trusted.
//
// A nil pool trusts nobody. For the CAs of the system, say so with
// [x509.SystemCertPool], which is rarely right for incoming peers.
func CA(pool *x509.CertPool) Trust { return &ca{pool} }

type ca struct{ pool *x509.CertPool }

// WantsSNI reports true: a server may have certificates for several hosts.
func (c *ca) WantsSNI() bool { return c.pool != nil }

func (c *ca) Verify(p Peer) error {
	if c.pool == nil {
		// crypto/x509 would take the system's CAs.
		return refuse(p, "a certificate of a CA, but no pool of CAs is configured", "configure the pool", nil)
	}
	options := x509.VerifyOptions{
		Roots:         c.pool,
		Intermediates: x509.NewCertPool(),
	}
	want, remedy := "a client certificate of the given CAs", "let the CA issue it one for client use"
	if p.Incoming {
		options.KeyUsages = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	} else {
		host, _ := splitName(p.Name)
		host, _, _ = strings.Cut(host, "%") // an IPv6 zone means nothing to a CA
		want, remedy = "a server certificate of the given CAs for "+host, "let the CA issue it one for this host, for server use"
		if host == "" {
			// crypto/x509 would skip the name.
			return refuse(p, want, "", errors.New("certs: no host name to check it against"))
		}
		options.DNSName = host
		options.KeyUsages = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	}
	if len(p.Certificates) == 0 {
		return refuse(p, want, remedy, errors.New("certs: no certificate"))
	}
	for _, cert := range p.Certificates[1:] {
		options.Intermediates.AddCert(cert)
	}
	if _, err := p.Certificates[0].Verify(options); err != nil {
		return refuse(p, want, remedy, err)
	}
	return nil
}

// splitName takes a dialed name apart: "host:port", "[v6]:port", or a host or
// address alone.
func splitName(name string) (host, port string) {
	if host, port, err := net.SplitHostPort(name); err == nil {
		return host, port
	}
	if inner, ok := strings.CutPrefix(name, "["); ok {
		if inner, ok = strings.CutSuffix(inner, "]"); ok {
			return inner, ""
		}
	}
	return name, ""
}
