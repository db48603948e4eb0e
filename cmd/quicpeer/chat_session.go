package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/oneportnet/quicpeer/datagram"
	"github.com/oneportnet/quicpeer/quicpeer"
	"github.com/oneportnet/quicpeer/session"
)

// chatSession is an open session and its number, which the user knows it by.
type chatSession struct {
	*quicpeer.Session
	chat    *chat
	number  int
	printed chan struct{} // closed when its end has been printed
}

// peer names the other side for a sentence.
func (s *chatSession) peer() string {
	if id, ok := s.RemoteID(); ok {
		return "peer " + id.String()
	}
	return "an anonymous peer"
}

// tag stands in front of what the other side says.
func (s *chatSession) tag() string {
	if id, ok := s.RemoteID(); ok {
		return fmt.Sprintf("[%d %s]", s.number, shortID(id))
	}
	return fmt.Sprintf("[%d anonymous]", s.number)
}

// run prints what arrives until the session is over, and then how it ended.
// It needs no context: the end of the session ends it, and the program does
// not return before it has ended all sessions.
func (s *chatSession) run() {
	defer close(s.printed)
	ctx := context.Background()
	var signals sync.WaitGroup
	signals.Go(func() {
		for {
			b, err := s.ReceiveSignal(ctx)
			if err != nil {
				return
			}
			s.chat.out.linef("%s signal: %s", s.tag(), clean(string(b)))
		}
	})
	for {
		b, err := s.Receive(ctx)
		if err != nil {
			break
		}
		s.chat.out.linef("%s %s", s.tag(), clean(string(b)))
	}
	signals.Wait()
	s.chat.remove(s)
	timer := time.NewTimer(totalsTimeout)
	defer timer.Stop()
	select {
	case <-s.Done():
	case <-timer.C:
	}
	s.chat.out.linef("* session %d: %s\n  %s", s.number, s.ending(), s.lost())
}

// ending tells how the session ended.
func (s *chatSession) ending() string {
	err := s.Err()
	e, ok := errors.AsType[*session.Error](err)
	if !ok {
		return fmt.Sprint(err)
	}
	why := fmt.Sprintf("code %#x", uint64(e.Code))
	if e.Reason != "" {
		why += fmt.Sprintf(", \"%s\"", clean(e.Reason))
	}
	switch {
	case e.Cause == session.CauseClosed && e.Remote:
		return "the peer closed it: " + why
	case e.Cause == session.CauseClosed && e.Confirmed:
		return "closed, and the peer confirmed: " + why
	case e.Cause == session.CauseTimeout, e.Cause == session.CauseClosed:
		s.chat.fail()
		return "closed, but the peer DID NOT CONFIRM: " + why
	}
	if s.chat.piped {
		s.chat.fail()
	}
	return clean(strings.TrimPrefix(e.Error(), "session: "))
}

// lost tells what arrived and what did not.
func (s *chatSession) lost() string {
	st := s.Stats()
	if !st.Complete {
		return fmt.Sprintf("%s sent, %d received; what was lost is not known", plural(int(st.Local.Sent), "message"), st.Local.Received)
	}
	text := fmt.Sprintf("lost: %d of your %s, %d of the peer's %d",
		st.Lost, plural(int(st.Local.Sent), "message"), st.LostIncoming, st.Remote.Sent)
	if n := st.Local.Dropped; n > 0 {
		text += fmt.Sprintf("; %d that arrived were dropped here, printing was too slow", n)
	}
	if n := st.Remote.Dropped; n > 0 {
		text += fmt.Sprintf("; %d that arrived were dropped there, the peer read too slowly", n)
	}
	if n := st.Local.SendDrops.Total(); n > 0 {
		text += fmt.Sprintf("; %d were never sent", n)
	}
	return text
}

// stats describes the session in a few lines.
func (s *chatSession) stats() string {
	st := s.Stats()
	var b strings.Builder
	fmt.Fprintf(&b, "* session %d with %s, %v\n", s.number, s.peer(), s.State())
	fmt.Fprintf(&b, "  messages  %d sent (%d bytes), %d waiting; %d received (%d bytes)\n",
		st.Local.Sent, st.Local.SentBytes, st.Local.Queued, st.Local.Received, st.Local.ReceivedBytes)
	if !st.RemoteTime.IsZero() {
		fmt.Fprintf(&b, "  the peer  had received %d of yours, %.1f s ago\n", st.Remote.Received, time.Since(st.RemoteTime).Seconds())
	}
	fmt.Fprintf(&b, "  dropped   %s\n", dropsText(st.Local.SendDrops, st.Local.ReceiveDrops))
	fmt.Fprintf(&b, "  signals   %d sent, %d of them taken; %d received\n", st.SignalsSent, st.SignalsTaken, st.SignalsReceived)
	fmt.Fprintf(&b, "  path      %v, round trip %v, messages up to %d bytes in one datagram, %d in pieces",
		s.RemoteAddr(), st.RTT.Round(10*time.Microsecond), s.DatagramSize(), s.MaxMessageSize())
	return b.String()
}

func dropsText(sending, receiving datagram.Drops) string {
	if sending.Total()+receiving.Total() == 0 {
		return "nothing"
	}
	var parts []string
	for _, r := range datagram.Reasons() {
		if n := sending[r]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d before sending (%v)", n, r))
		}
		if n := receiving[r]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d after receiving (%v)", n, r))
		}
	}
	return strings.Join(parts, ", ")
}
