package certs

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/big"
	"strings"
	"testing"
	"time"
)

func TestGenerate(t *testing.T) {
	a, b := newIdentityForTest(t), newIdentityForTest(t)
	want(t, a.ID() != b.ID(), "two identities")

	cert := a.Certificate().Leaf
	now := time.Now()
	want(t, PeerIDFromCertificate(cert) == a.ID(), "the certificate carries the key")
	want(t, cert.CheckSignature(cert.SignatureAlgorithm, cert.RawTBSCertificate, cert.Signature) == nil, "self-signed")
	want(t, cert.NotBefore.Before(now.Add(-59*time.Minute)), "valid for a clock that is behind")
	want(t, cert.NotAfter.After(now.AddDate(5, 0, 0)), "valid longer than a process runs")
	want(t, cert.SerialNumber.BitLen() > 64, "a random serial number")
	want(t, cert.KeyUsage == x509.KeyUsageDigitalSignature && len(cert.ExtKeyUsage) == 2 && !cert.IsCA, "usable in both roles, and for nothing else")

	again, err := FromKey(a.own().key)
	wantNoError(t, err, "the same key")
	want(t, again.ID() == a.ID(), "is the same identity")
	want(t, again.Certificate().Leaf.SerialNumber.Cmp(cert.SerialNumber) != 0, "with another certificate")
}

// onlySigner is a key that stays in its device.
type onlySigner struct{ crypto.Signer }

func TestKeyTypes(t *testing.T) {
	ec := func(c elliptic.Curve) crypto.Signer {
		key, err := ecdsa.GenerateKey(c, rand.Reader)
		wantNoError(t, err, "generate")
		return key
	}
	rs := func(bits int) *rsa.PrivateKey {
		key, err := rsa.GenerateKey(rand.Reader, bits)
		wantNoError(t, err, "generate")
		return key
	}
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	wantNoError(t, err, "generate")
	rsa2048 := rs(2048)
	for _, key := range []crypto.Signer{ec(elliptic.P256()), ec(elliptic.P384()), ec(elliptic.P521()), ed, rsa2048} {
		id, err := FromKey(key)
		wantNoError(t, err, fmt.Sprintf("%T", key))
		o := handshake(t, id.ClientTLS(testALPN, IDs(id.ID()), "p:1"), id.ServerTLS(testALPN, IDs(id.ID()), false))
		wantNoError(t, o.clientErr, fmt.Sprintf("%T dials", key))
		wantNoError(t, o.serverErr, fmt.Sprintf("%T listens", key))
		want(t, id.ResetKey("a") != id.ResetKey("b"), "keys derive from a %T", key)
	}

	for _, c := range []struct {
		key crypto.Signer
		say string
	}{
		{ec(elliptic.P224()), "ECDSA P-224"},
		{&ecdsa.PrivateKey{}, "ECDSA without a curve"},
		{rs(1024), "RSA of 1024 bits"},
		{&rsa.PrivateKey{}, "RSA of 0 bits"},
		{onlySigner{ed}, "onlySigner"},
		{nil, "<nil>"},
	} {
		_, err := FromKey(c.key)
		wantError[*UnsupportedKeyError](t, err, c.say)
		wantText(t, err, c.say, "use ECDSA P-256")
	}
	_, err = FromKey(ed[:5])
	wantText(t, err, "64 bytes, not 5")
	wrongCurve := *ec(elliptic.P256()).(*ecdsa.PrivateKey)
	wrongCurve.Curve = elliptic.P384()
	_, err = FromKey(&wrongCurve)
	wantText(t, err, "invalid ECDSA key")
	_, err = FromKey(&rsa.PrivateKey{PublicKey: rsa2048.PublicKey, D: big.NewInt(3), Primes: rsa2048.Primes})
	wantText(t, err, "invalid RSA key")

	// Sizes and types that only a peer could come with.
	large := &rsa.PublicKey{N: new(big.Int).Lsh(big.NewInt(1), 8191), E: 65537}
	for key, say := range map[crypto.PublicKey]string{
		large:           "RSA of 8192 bits",
		"some dsa key":  "type string",
		crypto.Hash(99): "type crypto.Hash",
	} {
		wantText(t, checkKey(key), say)
	}
	wantText(t, checkKey(nil), "unknown type")
}

func TestFromTLSCertificate(t *testing.T) {
	a := newAuthority(t)
	id := a.issue(t, x509.Certificate{DNSNames: []string{"peer.test"}})
	want(t, len(id.Certificate().Certificate) == 2 && id.Certificate().Leaf.DNSNames[0] == "peer.test", "the issued chain is kept")
	want(t, id.ID() == PeerIDFromCertificate(id.Certificate().Leaf), "and the id is the key's")

	cert := id.Certificate()
	cert.PrivateKey = newKey(t)
	_, err := FromTLSCertificate(cert)
	wantText(t, err, "not issued for this private key")
	cert.PrivateKey = nil
	_, err = FromTLSCertificate(cert)
	wantError[*UnsupportedKeyError](t, err, "no key")
	cert.PrivateKey = onlySigner{newKey(t)}
	_, err = FromTLSCertificate(cert)
	wantError[*UnsupportedKeyError](t, err, "a key in a device")
	cert.Certificate = [][]byte{{1, 2, 3}}
	_, err = FromTLSCertificate(cert)
	wantText(t, err, "parse the certificate")
	_, err = FromTLSCertificate(tls.Certificate{})
	wantText(t, err, "FromKey")
}

// The derived keys must be the same after a restart, an update and a port to
// another language. The figures are from an independent HKDF.
func TestDerivedKeys(t *testing.T) {
	id, err := Load(write(t, "peer.key", testKeyP256))
	wantNoError(t, err, "load")
	reset, token := id.ResetKey("192.0.2.1:4433"), id.TokenKey("192.0.2.1:4433")
	want(t, hex.EncodeToString(reset[:]) == "b408baa72fcb2143e6c878800acba6485e17d386f631ab705790eebc7d542794", "the reset key, got %x", reset)
	want(t, hex.EncodeToString(token[:]) == "bd0d2724f9f35e98bcf630bdf5edf0fef4a1ad2121883a8b2bc02dbe004f8887", "the token key, got %x", token)
	want(t, id.ResetKey("192.0.2.1:4434") != reset, "another address has another key")
	want(t, newIdentityForTest(t).ResetKey("192.0.2.1:4433") != reset, "another identity has another key")
}

// Whatever anyone does to show an identity, its key must not be in it.
func TestIdentityShowsNoSecret(t *testing.T) {
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	wantNoError(t, err, "generate")
	for _, key := range []crypto.Signer{newKey(t), ed} {
		id, err := FromKey(key)
		wantNoError(t, err, "identity")
		var shown strings.Builder
		type holder struct {
			Public  *Identity
			private *Identity
			Value   Identity
			value   Identity
		}
		h := holder{id, id, *id, *id}
		for _, v := range []any{id, *id, h, &h, []*Identity{id}, map[string]Identity{"x": *id}} {
			for _, format := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%b", "%o", "%c", "%U", "%p", "%t", "%e"} {
				fmt.Fprintf(&shown, format+"\n", v)
			}
			data, err := json.Marshal(v)
			wantNoError(t, err, "JSON")
			shown.Write(data)
			slog.New(slog.NewTextHandler(&shown, nil)).Info("x", "id", v)
			slog.New(slog.NewJSONHandler(&shown, nil)).Info("x", "id", v)
		}
		text := shown.String()
		for _, form := range secretForms(id.own().secret) {
			want(t, !strings.Contains(text, form), "no secret as %.20q… in what is shown", form)
		}
		want(t, strings.Contains(text, id.ID().String()), "the peer id is shown")
	}
	var zero Identity
	want(t, zero.GoString() == zero.String(), "for those who call it without fmt")
	want(t, zero.ID().IsZero() && zero.String() == "identity "+PeerID{}.String(), "the zero identity can be printed")
	want(t, fmt.Sprint((*Identity)(nil)) == "<nil>", "and so can none")
}

// secretForms are the ways in which a secret may be printed.
func secretForms(secret []byte) []string {
	part := secret[4:20] // the middle, whatever is around it
	decimal := strings.Trim(fmt.Sprint(part), "[]")
	return []string{
		string(part), hex.EncodeToString(part), strings.ToUpper(hex.EncodeToString(part)),
		decimal, strings.ReplaceAll(decimal, " ", ","), strings.ReplaceAll(decimal, " ", ", "),
		base64.StdEncoding.EncodeToString(secret)[4:20],
		new(big.Int).SetBytes(secret).String(),
		strings.Trim(fmt.Sprintf("%#v", part), "[]byte{}"), fmt.Sprintf("%o", part), fmt.Sprintf("%b", part),
	}
}

func TestSecretFormsFindSecrets(t *testing.T) {
	secret := bytes.Repeat([]byte{7, 200, 33}, 12)
	var b strings.Builder
	fmt.Fprintf(&b, "%v %x %s %#v", secret, secret, secret, secret)
	found := 0
	for _, form := range secretForms(secret) {
		if strings.Contains(b.String(), form) {
			found++
		}
	}
	want(t, found >= 4, "the test above sees what it looks for, found %d", found)
}

const (
	// Keys of nobody, made for these tests with openssl; the ids computed with
	// sha256sum and base32.
	testKeyP256 = `-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQghPqwERJxBswaR3Hv
uV95rIdHdEnW9e6M4mf07z2MATuhRANCAAS3Yaj1F3ZzH9lKiP/+zDsujMaisBAj
OCvZrY45ehwnMw6Xu55tMnJpT5BQAFKPjTgeqIST3833a0k6L51EV68Q
-----END PRIVATE KEY-----
`
	testKeyP256ID  = "qcrgwjbyj2qofqa5blqargx3mo4tofmszrr7d7je7zxyg3o3dzjq"
	testKeyEd25519 = `-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEII5EeR4eswVJPpPtsIr0x/G3C+oQtTod84nXeIP7lQgO
-----END PRIVATE KEY-----
`
	testKeyEd25519ID = "zv5lt2hzmukavm3oplqhqdiybl2gpkqe453coqfch26a5jbdhsga"
)
