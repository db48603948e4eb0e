package quicpeer

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// What this implementation has chosen: of one kind of line, a log gets so many
// at once, and then so many a second. An ordinary day stays below that; peers
// who would fill a disk, or hide something in a flood, get no further.
const (
	logBurst     = 100
	logPerSecond = 1
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
	all map[string]*logKind // by message
}

// logKind is a token bucket.
type logKind struct {
	tokens     float64
	filled     time.Time // when tokens was reckoned
	suppressed uint64    // since the last line that was passed on
}

func limitLog(l *slog.Logger) *slog.Logger {
	return slog.New(limitedLog{l.Handler(), &logKinds{all: make(map[string]*logKind)}})
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
	l.mu.Lock()
	defer l.mu.Unlock()
	k := l.all[message]
	if k == nil {
		if len(l.all) >= maxLogKinds {
			message = "" // all that are too many are one kind
			k = l.all[message]
		}
		if k == nil {
			k = &logKind{tokens: logBurst, filled: now}
			l.all[message] = k
		}
	}
	k.tokens = min(logBurst, k.tokens+max(0, now.Sub(k.filled).Seconds())*logPerSecond)
	k.filled = now
	if k.tokens < 1 {
		k.suppressed++
		return false, 0
	}
	k.tokens--
	suppressed, k.suppressed = k.suppressed, 0
	return true, suppressed
}
