package certs

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// UntrustedError reports a peer that Trust refused. It is what VerifyConnection
// fails with, and [errors.As] finds it in what a handshake returns.
type UntrustedError struct {
	Peer     PeerID // who came; zero if the peer showed no certificate
	Name     string // what was dialed; "" for an incoming connection
	Incoming bool
	Want     string // who would have been trusted; may be empty
	Remedy   string // what to do if the peer is the right one; may be empty
	Err      error  // the cause, such as a *KeyChangedError; may be nil
}

// Error is one line. What the peer's certificate says is cut where it is long,
// and shown without control characters.
func (e *UntrustedError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "certs: %s is not trusted", e.who())
	if e.Want != "" {
		b.WriteString(": want " + e.Want)
	}
	if e.Err != nil {
		b.WriteString(": " + printable(e.Err.Error()))
	}
	if e.Remedy != "" {
		b.WriteString("; if it is the right peer, " + e.Remedy)
	}
	return b.String()
}

// maxCause is how much of a cause is shown: a certificate may have many names,
// each of any length, and crypto/x509 tells them all.
const maxCause = 2048

// printable replaces what could move a cursor or fake a line of a log.
func printable(s string) string {
	if len(s) > maxCause {
		s = s[:maxCause] + "…"
	}
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return utf8.RuneError
	}, s)
}

func (e *UntrustedError) who() string {
	switch {
	case e.Peer.IsZero() && e.Incoming:
		return "incoming peer without a certificate"
	case e.Peer.IsZero():
		return fmt.Sprintf("peer without a certificate at %q", e.Name)
	case e.Incoming:
		return "incoming peer " + e.Peer.String()
	case e.Name == "":
		return "peer " + e.Peer.String()
	}
	return fmt.Sprintf("peer %s at %q", e.Peer, e.Name)
}

func (e *UntrustedError) Unwrap() error { return e.Err }

// refuse makes the error for p.
func refuse(p Peer, want, remedy string, err error) error {
	return &UntrustedError{Peer: p.ID, Name: p.Name, Incoming: p.Incoming, Want: want, Remedy: remedy, Err: err}
}

// refuseFor makes an UntrustedError of whatever a Trust returned, if there is
// none in it already.
func refuseFor(p Peer, err error) error {
	var e *UntrustedError
	if err == nil || errors.As(err, &e) {
		return err
	}
	return refuse(p, "", "", err)
}

// refuseAll makes one error of the refusals of several Trust values, any of
// which would have sufficed.
func refuseAll(p Peer, refusals []error) error {
	var wants, remedies []string
	var causes errorList
	for _, err := range refusals {
		e, ok := err.(*UntrustedError)
		if !ok {
			causes = append(causes, err)
			continue
		}
		if e.Want != "" {
			wants = append(wants, e.Want)
		}
		if e.Remedy != "" {
			remedies = append(remedies, e.Remedy)
		}
		if e.Err != nil {
			causes = append(causes, e.Err)
		}
	}
	var cause error // not an errorList: a nil one would be a non-nil error
	if len(causes) > 0 {
		cause = causes
	}
	return refuse(p, strings.Join(wants, ", or "), strings.Join(remedies, ", or "), cause)
}

// errorList is errors.Join on one line, for logs.
type errorList []error

func (l errorList) Error() string {
	texts := make([]string, len(l))
	for i, err := range l {
		texts[i] = err.Error()
	}
	return strings.Join(texts, "; ")
}

func (l errorList) Unwrap() []error { return l }

// KeyChangedError reports that a peer dialed by name presents another key than
// the one that the file of known peers has for that name. Either the peer was
// given a new key, or this is another peer.
type KeyChangedError struct {
	Name  string // as in the file
	Known PeerID
	Got   PeerID
	Path  string // of the file
	Line  int    // in the file, from 1
}

func (e *KeyChangedError) Error() string {
	return fmt.Sprintf("certs: THE KEY OF %q HAS CHANGED: %s:%d has %s, but the peer has %s. "+
		"Another peer may be answering in its place. "+
		"Only if you know that it was given a new key, remove line %d of %s and dial again",
		e.Name, e.Path, e.Line, e.Known, e.Got, e.Line, e.Path)
}

// KnownPeersFileError reports a line that cannot be read.
type KnownPeersFileError struct {
	Path    string
	Line    int // from 1; 0 if it is about the whole file
	Problem string
	Err     error // the cause; may be nil
}

func (e *KnownPeersFileError) Error() string {
	where := e.Path
	if e.Line > 0 {
		where = fmt.Sprintf("%s:%d", e.Path, e.Line)
	}
	s := fmt.Sprintf("certs: known peers: %s: %s", where, e.Problem)
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

func (e *KnownPeersFileError) Unwrap() error { return e.Err }
