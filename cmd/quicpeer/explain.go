package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"strings"
	"syscall"

	"github.com/oneportnet/quicpeer/certs"
	"github.com/oneportnet/quicpeer/quicpeer"
	"github.com/oneportnet/quicpeer/session"
)

// explain tells what went wrong, and what to do about it if that is known and
// not part of the first. own is this side's id, if there is one.
func explain(err error, own certs.PeerID) (cause, remedy string) {
	if e, ok := errors.AsType[*quicpeer.DialError](err); ok {
		cause, remedy = explainDial(e.Err, own)
		return fmt.Sprintf("cannot open a session with %s: %s", e.Address, cause), remedy
	}
	if e, ok := errors.AsType[*certs.KeyFileError](err); ok {
		cause := fmt.Sprintf("the key file %s cannot be used: %s", e.Path, e.Problem)
		if e.Err != nil {
			cause += ": " + e.Err.Error()
		}
		return cause, e.Fix
	}
	if e, ok := errors.AsType[*existsError](err); ok {
		return e.Error(), "use 'quicpeer id' to show it, or add --force to replace it: its id is gone for good then"
	}
	cause = strings.TrimPrefix(err.Error(), "quicpeer: ")
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return cause, "'ss -ulnp' or 'lsof -i UDP' shows which program has the port"
	case errors.Is(err, fs.ErrPermission):
		return cause, "check the owner and the mode of the file and its directory"
	}
	return cause, ""
}

// explainDial explains the cause of a *quicpeer.DialError.
func explainDial(err error, own certs.PeerID) (cause, remedy string) {
	if e, ok := errors.AsType[*certs.KeyChangedError](err); ok {
		return fmt.Sprintf("THE KEY OF %s HAS CHANGED: %s:%d has %s, but the peer that answers has %s",
				e.Name, e.Path, e.Line, e.Known, e.Got),
			fmt.Sprintf("another peer may be answering in its place; only if you know that it was given a new key, remove line %d of %s and dial again", e.Line, e.Path)
	}
	if e, ok := errors.AsType[*certs.UntrustedError](err); ok && !e.Incoming {
		cause := fmt.Sprintf("the peer that answers is %s,\n  which is not trusted", e.Peer)
		if e.Want != "" {
			cause += "; wanted is " + e.Want
		}
		if e.Err != nil {
			cause += " (" + clean(e.Err.Error()) + ")"
		}
		return cause, fmt.Sprintf("if it is the right peer, dial ADDRESS#%s, or start with --trust %s", e.Peer, e.Peer)
	}
	if e, ok := errors.AsType[*session.Error](err); ok && e.Cause == session.CauseRejected {
		cause := fmt.Sprintf("the peer rejected it (%v)", e.Code)
		if e.Reason != "" {
			cause += ": " + clean(e.Reason)
		}
		switch {
		case e.RetryAfter > 0:
			return cause, fmt.Sprintf("try again in %v", e.RetryAfter)
		case e.Code == session.CodeRefused:
			return cause, "the peer runs another application, or does not take sessions: start it with 'quicpeer run'"
		case e.Code == session.CodeBusy, e.Code == session.CodeLimit:
			return cause, "it has too much to do now; try again later"
		}
		return cause, ""
	}
	var dns *net.DNSError
	var timeout net.Error
	switch {
	case errors.Is(err, quicpeer.ErrRefused):
		return "the peer does not trust this identity", fmt.Sprintf("the other side enters /trust %s, or starts with --trust and that id, which is yours", own)
	case errors.Is(err, quicpeer.ErrNoDatagrams):
		return "the peer's QUIC stack does not offer datagrams (RFC 9221)", "switch them on there: messages travel in them"
	case errors.Is(err, quicpeer.ErrWrongProtocol):
		return "what answers there does not speak " + quicpeer.ALPN, "check address and port: another QUIC service has them"
	case errors.Is(err, quicpeer.ErrOutcomeUnknown):
		return "the link was lost before the peer answered", "look at the other side: it may have seen the session; then dial again"
	case errors.As(err, &dns):
		return fmt.Sprintf("the name %q cannot be resolved: %v", dns.Name, err), "check the spelling, or give an IP address"
	case errors.As(err, &timeout) && timeout.Timeout():
		return "nobody answers", "check that the peer is running and listens on that port, and that UDP passes the firewalls on the way"
	}
	return clean(strings.TrimPrefix(err.Error(), "quicpeer: ")), ""
}
