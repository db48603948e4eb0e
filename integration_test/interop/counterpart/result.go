package main

import (
	"errors"
	"sync"

	"github.com/oneportnet/quicpeer/session"
)

// sessionEntry is what the result tells of one session.
type sessionEntry struct {
	ID           uint64       `json:"id"`
	End          string       `json:"end"`
	Code         session.Code `json:"code"`
	Reason       string       `json:"reason"`
	Sent         int64        `json:"sent"`
	Received     int64        `json:"received"`
	PeerSent     int64        `json:"peer_sent"`
	PeerReceived int64        `json:"peer_received"`
}

// sessionLog remembers the sessions of a case. Safe for concurrent use.
type sessionLog struct {
	mu   sync.Mutex
	list []*session.Session
}

func (l *sessionLog) add(s *session.Session) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.list = append(l.list, s)
}

func (l *sessionLog) all() []*session.Session {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]*session.Session(nil), l.list...)
}

func (l *sessionLog) entries() []sessionEntry {
	entries := []sessionEntry{}
	for _, s := range l.all() {
		entries = append(entries, entry(s))
	}
	return entries
}

func entry(s *session.Session) sessionEntry {
	e := sessionEntry{ID: s.ID(), End: "open", PeerSent: -1, PeerReceived: -1}
	if cause, ok := errors.AsType[*session.Error](s.Err()); ok {
		e.End, e.Code, e.Reason = end(cause), cause.Code, cause.Reason
	}
	stats := s.Stats()
	e.Sent, e.Received = int64(stats.Local.Sent), int64(stats.Local.Received)
	if stats.Complete {
		e.PeerSent, e.PeerReceived = int64(stats.Remote.Sent), int64(stats.Remote.Received)
	}
	return e
}

func end(e *session.Error) string {
	switch e.Cause {
	case session.CauseClosed:
		if e.Remote {
			return "peer-closed"
		}
		return "closed"
	case session.CauseRejected:
		return "rejected"
	case session.CauseAborted, session.CauseViolation:
		return "aborted"
	default:
		return "lost"
	}
}
