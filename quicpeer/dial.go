package quicpeer

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"

	"github.com/oneportnet/quicpeer/certs"
	"github.com/oneportnet/quicpeer/session"
)

// DialOptions say what session to open, and with whom.
type DialOptions struct {
	// Protocol is the application protocol that the peer must serve. It may
	// be empty, if the peer serves that.
	Protocol string
	// Metadata goes along with the OPEN: protocol and metadata together may
	// have up to 16 KiB.
	Metadata []byte
	// PeerID, if not zero, is the only peer to accept. It takes the place of
	// the endpoint's trust.
	PeerID certs.PeerID
	// Trust, if not nil, takes the place of the endpoint's trust for this
	// dial. With PeerID both must hold.
	Trust certs.Trust
	// NoWait makes Dial fail with ErrLimit, instead of waiting, when the peer
	// allows no more sessions on the link now.
	NoWait bool
}

// trust is what a dialed peer is verified with; nil means the endpoint's.
func (o *DialOptions) trust() certs.Trust {
	switch {
	case o.PeerID.IsZero():
		return o.Trust
	case o.Trust == nil:
		return certs.IDs(o.PeerID)
	}
	return certs.AllOf(certs.IDs(o.PeerID), o.Trust)
}

// dialAttempts bounds how often an OPEN is sent anew because the peer surely
// did not act on it.
const dialAttempts = 3

// Dial opens a session with the peer at an address, "host:port" with an IP
// address or a host name, and returns once the peer's application has accepted
// it. All of a name's addresses are tried, both families at once, as RFC 8305
// says. Packets leave from the endpoint's one port. o may be nil.
//
// A live link to the peer is used if there is one and the trust of this dial
// holds for it: with PeerID, any link to that peer, whichever side made it;
// else a link that this endpoint dialed at the same address, and, if this dial
// relies on the endpoint's trust, dialed with that. Otherwise a new link is made.
//
// The error is a *[DialError]. If ctx ends first, the open is taken back in
// the background. If the peer surely did not act on the open, because its link
// was going away or idle, it is tried again unseen.
func (e *Endpoint) Dial(ctx context.Context, address string, o *DialOptions) (*Session, error) {
	var options DialOptions // a copy: a handshake that others share may outlive this call
	if o != nil {
		options = *o
		options.Metadata = slices.Clone(o.Metadata)
	}
	s, err := e.dial(ctx, address, &options)
	if err != nil {
		return nil, &DialError{Address: address, Err: err}
	}
	return s, nil
}

func (e *Endpoint) dial(ctx context.Context, address string, o *DialOptions) (*Session, error) {
	open := session.Open{Protocol: o.Protocol, Metadata: o.Metadata}
	if err := open.Validate(); err != nil {
		return nil, err
	}
	host, port, err := splitAddress(address)
	if err != nil {
		return nil, err
	}
	for attempt := 1; ; attempt++ {
		l, err := e.linkTo(ctx, address, host, port, o)
		if err != nil {
			return nil, err
		}
		s, id, err := l.openSession(ctx, open, o.NoWait)
		if err == nil {
			return s, nil
		}
		if ctx.Err() != nil || !l.notActedOn(id, err) {
			return nil, dialOutcome(err, e.ID())
		}
		if attempt == dialAttempts {
			return nil, fmt.Errorf("%w: %w", ErrNotActedOn, err)
		}
		e.log.Debug("open tried again", "address", address, "error", err)
	}
}

func splitAddress(address string) (host string, port uint16, err error) {
	host, p, err := net.SplitHostPort(address)
	if err != nil {
		return "", 0, fmt.Errorf("want host:port: %w", err)
	}
	n, err := strconv.ParseUint(p, 10, 16)
	if err != nil || n == 0 {
		return "", 0, fmt.Errorf("port %q is not a number from 1 to 65535", p)
	}
	if host == "" {
		return "", 0, errors.New("no host given: want host:port")
	}
	return host, uint16(n), nil
}

// notActedOn reports whether the peer surely did not act on an OPEN that
// failed (session/PROTOCOL.md, rule 10).
func (l *link) notActedOn(id uint64, err error) bool {
	if errors.Is(err, errLinkEnding) || l.refusedByGoAway(id) {
		return true
	}
	e, ok := errors.AsType[*session.Error](err)
	if !ok {
		return false
	}
	if e.Cause == session.CauseRejected && e.Code == session.CodeGoingAway {
		l.mu.Lock()
		l.rejecting = true // its GOAWAY may come later, on another stream
		l.mu.Unlock()
		return true
	}
	return e.Cause == session.CauseLinkClosed && e.Code == session.CodeLinkIdle
}

// dialOutcome says what a failed open means for the one who dialed.
func dialOutcome(err error, own certs.PeerID) error {
	e, ok := errors.AsType[*session.Error](err)
	if !ok {
		return err
	}
	switch e.Cause {
	case session.CauseClosed:
		// Nobody but Shutdown closes a session that Dial has not returned.
		return fmt.Errorf("%w: %w", ErrEndpointClosed, e)
	case session.CauseLinkLost, session.CauseLinkClosed, session.CausePeerRestarted, session.CauseSuperseded:
		// A listener judges our certificate after our handshake is complete:
		// its refusal arrives as the loss of a link that seemed up.
		if explained := handshakeError(e.Err, own); errors.Is(explained, ErrRefused) {
			return explained
		}
		if e.Code == session.CodeUnsupported || e.Remote && e.Code == session.CodeGoingAway {
			// Both codes say that nothing was acted on (session/PROTOCOL.md,
			// "Codes").
			return fmt.Errorf("the peer closed the link: %w", e)
		}
		return fmt.Errorf("%w: %w", ErrOutcomeUnknown, e)
	}
	return err
}
