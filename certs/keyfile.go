package certs

import (
	"bytes"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// What this implementation chose.
const (
	// A key with a long chain of RSA certificates stays below 16 KiB. The
	// limit keeps a path given by mistake from being read as a whole.
	maxKeyFile = 64 << 10
	// Only the owner reads and writes a key.
	keyFileMode fs.FileMode = 0o600
)

const (
	pemKey         = "PRIVATE KEY" // PKCS#8 (RFC 7468, section 10)
	pemCertificate = "CERTIFICATE" // RFC 7468, section 5
)

// KeyFileError reports a key file that cannot be used as it is. Its text says
// how to mend it and never shows what is in the file.
type KeyFileError struct {
	Path    string
	Problem string
	Fix     string // what to do; may be empty
	Err     error  // the cause; may be nil
}

func (e *KeyFileError) Error() string {
	s := fmt.Sprintf("certs: key file %s: %s", e.Path, e.Problem)
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	if e.Fix != "" {
		s += "; " + e.Fix
	}
	return s
}

func (e *KeyFileError) Unwrap() error { return e.Err }

// Load reads an identity from a key file. The error is a *[KeyFileError] if
// the file is there and cannot be used, and wraps [fs.ErrNotExist] if it is
// not there.
func Load(path string) (*Identity, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("certs: open the key file: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("certs: stat the key file: %w", err)
	}
	if err := checkKeyFileMode(path, info.Mode()); err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(f, maxKeyFile+1))
	if err != nil {
		return nil, fmt.Errorf("certs: read the key file: %w", err)
	}
	if len(data) > maxKeyFile {
		return nil, &KeyFileError{Path: path, Problem: fmt.Sprintf("more than %d bytes, so it is something else", maxKeyFile)}
	}
	id, err := parseKeyFile(data)
	if err != nil {
		var e *KeyFileError
		if !errors.As(err, &e) {
			e = &KeyFileError{Problem: "unusable", Err: err}
		}
		e.Path = path
		return nil, e
	}
	return id, nil
}

// LoadOrCreate reads an identity from a key file and makes a new one if the
// file does not exist. Only that: a file that cannot be used is an error, and
// stays as it is. Of several processes that find no file, one creates it and
// all others load that.
func LoadOrCreate(path string) (*Identity, error) {
	id, err := Load(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return id, err
	}
	unlock, err := lockFile(path)
	if err != nil {
		return nil, err
	}
	defer unlock()
	id, err = Load(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return id, err
	}
	if id, err = Generate(); err != nil {
		return nil, err
	}
	if err := id.Save(path); err != nil {
		return nil, err
	}
	return id, nil
}

// Save writes the identity to a key file with mode 0600, in place of whatever
// was there. It appears as a whole or not at all. A self-signed certificate is
// not stored, one that a CA issued is.
func (id *Identity) Save(path string) error {
	data, err := id.encode()
	if err != nil {
		return err
	}
	return writeFile(path, data, keyFileMode)
}

func (id *Identity) encode() ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(id.own().key)
	if err != nil {
		return nil, fmt.Errorf("certs: encode the key: %w", err)
	}
	data := pem.EncodeToMemory(&pem.Block{Type: pemKey, Bytes: der})
	if id.own().issued {
		for _, der := range id.own().cert.Certificate {
			data = append(data, pem.EncodeToMemory(&pem.Block{Type: pemCertificate, Bytes: der})...)
		}
	}
	return data, nil
}

// parseKeyFile returns errors that do not name the file.
func parseKeyFile(data []byte) (*Identity, error) {
	var key crypto.Signer
	var chain [][]byte
	// Text around the blocks is legal (RFC 7468, section 2), but a damaged
	// block would pass for text. So every beginning must lead to a block.
	begins := bytes.Count(data, []byte("-----BEGIN"))
	blocks := 0
	for {
		var block *pem.Block
		if block, data = pem.Decode(data); block == nil {
			break
		}
		blocks++
		switch {
		case block.Type == pemKey && key == nil:
			parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
			if err != nil {
				return nil, &KeyFileError{Problem: "the private key does not parse", Err: err}
			}
			var ok bool
			if key, ok = parsed.(crypto.Signer); !ok {
				return nil, &UnsupportedKeyError{fmt.Sprintf("a private key of type %T", parsed)}
			}
		case block.Type == pemKey:
			return nil, &KeyFileError{Problem: "more than one private key"}
		case block.Type == pemCertificate:
			chain = append(chain, block.Bytes)
		case block.Type == "ENCRYPTED PRIVATE KEY":
			return nil, &KeyFileError{Problem: "the key is encrypted", Fix: "decrypt it with: openssl pkcs8 -in OLD -out NEW"}
		case block.Type == "EC PRIVATE KEY", block.Type == "RSA PRIVATE KEY":
			return nil, &KeyFileError{Problem: "the key is not PKCS#8", Fix: "convert it with: openssl pkcs8 -topk8 -nocrypt -in OLD -out NEW"}
		default:
			return nil, &KeyFileError{Problem: fmt.Sprintf("a PEM block of type %q does not belong here", block.Type)}
		}
	}
	if blocks != begins {
		return nil, &KeyFileError{Problem: "a PEM block is damaged", Fix: "restore the file from a copy"}
	}
	if key == nil {
		return nil, &KeyFileError{Problem: fmt.Sprintf("no PEM block %q in it", pemKey)}
	}
	if len(chain) == 0 {
		return FromKey(key)
	}
	return FromTLSCertificate(tls.Certificate{Certificate: chain, PrivateKey: key})
}
