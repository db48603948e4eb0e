package quicpeer

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestLogIsNotFlooded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		log := limitLog(slog.New(slog.NewTextHandler(&out, nil)))
		lines := func(what string) int { return strings.Count(out.String(), what) }
		for i := range 10_000 {
			log.Info("peer refused", "i", i)
		}
		require.Equal(t, logBurst, lines("peer refused"))
		require.Zero(t, lines("suppressed"))
		log.With("a", 1).WithGroup("g").Warn("something else")
		require.Equal(t, 1, lines("something else"), "another kind has its own limit")

		time.Sleep(time.Second)
		log.With("a", 1).Info("peer refused")
		log.Info("peer refused")
		require.Equal(t, logBurst+1, lines("peer refused"), "one more a second, whatever it was made with")
		require.Contains(t, out.String(), fmt.Sprintf("suppressed=%d", 10_000-logBurst))

		time.Sleep(time.Hour)
		out.Reset()
		for range 10_000 {
			log.Info("peer refused")
		}
		require.Equal(t, logBurst, lines("peer refused"), "an hour of silence saves nothing up")
		require.Equal(t, 1, lines("suppressed"), "told once")
		require.Contains(t, out.String(), "suppressed=1")
	})
}

func TestLogLimitIsBoundedItself(t *testing.T) {
	kinds := logKinds{all: make(map[string]*seldom)}
	now := time.Now()
	passed := 0
	for i := range 10_000 {
		if pass, _ := kinds.take(fmt.Sprint("kind ", i), now); pass {
			passed++
		}
	}
	require.LessOrEqual(t, len(kinds.all), maxLogKinds+1)
	require.Equal(t, maxLogKinds+logBurst, passed, "those that are too many share one limit")
	for range logBurst {
		kinds.take("kind 0", now)
	}
	back := now.Add(-time.Hour)
	pass, _ := kinds.take("kind 0", back)
	require.False(t, pass)
	pass, _ = kinds.take("kind 0", back.Add(logEvery))
	require.True(t, pass, "a clock that was set back takes nothing away")
}

// The limit asks nobody for what the handler below does not want.
func TestLogLimitKeepsTheLevel(t *testing.T) {
	log := limitLog(slog.New(slog.NewTextHandler(&bytes.Buffer{}, &slog.HandlerOptions{Level: slog.LevelWarn})))
	require.False(t, log.Enabled(context.Background(), slog.LevelInfo))
	require.True(t, log.Enabled(context.Background(), slog.LevelWarn))
}
