package quicpeer

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// What this implementation has chosen: of one kind of line, a log gets so many
// at once, and then one in each interval. An ordinary day stays below that; peers
// who would fill a disk, or hide something in a flood, get no further.
const (
	logBurst = 100
	logEvery = time.Second
)

// maxLogKinds bounds what is remembered. Kinds are the messages of this
// package's own calls, of which there are fewer.
const maxLogKinds = 64

// limitedLog is a handler that passes on a bounded number of lines of each
// kind. The next one that is passed on tells how many were not.
//
// Safe for concurrent use, as far as the handler below it is.
type limitedLog struct {
	slog.Handler
	kinds *logKinds // shared with the handlers made of this one
}

type logKinds struct {
	mu  sync.Mutex
	all map[string]*seldom // by message
}

func limitLog(l *slog.Logger) *slog.Logger {
	return slog.New(limitedLog{l.Handler(), &logKinds{all: make(map[string]*seldom)}})
}

// Handle passes a line on, or counts it.
func (l limitedLog) Handle(ctx context.Context, r slog.Record) error {
	pass, suppressed := l.kinds.take(r.Message, r.Time)
	if !pass {
		return nil
	}
	if suppressed > 0 {
		r = r.Clone()
		r.AddAttrs(slog.Uint64("suppressed", suppressed))
	}
	return l.Handler.Handle(ctx, r)
}

// WithAttrs and WithGroup keep to the same limits.
func (l limitedLog) WithAttrs(a []slog.Attr) slog.Handler {
	return limitedLog{l.Handler.WithAttrs(a), l.kinds}
}

func (l limitedLog) WithGroup(name string) slog.Handler {
	return limitedLog{l.Handler.WithGroup(name), l.kinds}
}

// take decides about one line, and returns how many of its kind were
// suppressed before it.
func (l *logKinds) take(message string, now time.Time) (pass bool, suppressed uint64) {
	n, pass := l.kind(message).next(now, 1)
	if !pass {
		return false, 0
	}
	return true, n - 1
}

func (l *logKinds) kind(message string) *seldom {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, ok := l.all[message]; !ok && len(l.all) >= maxLogKinds {
		message = "" // all that are too many are one kind
	}
	k, ok := l.all[message]
	if !ok {
		k = newSeldom(logBurst, logEvery)
		l.all[message] = k
	}
	return k
}
