package bench

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// tiny are settings for programs that are not real.
func tiny(only ...Measure) Settings {
	s := QuickSettings()
	s.Rounds, s.Sizes, s.Seconds, s.Pings, s.Only = 2, []int{64}, 0.001, 101, only
	return s
}

func TestRunMeasuresAll(t *testing.T) {
	t.Parallel()
	var told []string
	o := Options{
		Settings: tiny(Measures...),
		Subjects: []Subject{
			fakeSubject(t, QuicpeerName, "good:3"),
			fakeSubject(t, quicGoName, "good:2"),
			fakeSubject(t, udpName, "good:1"),
		},
		Missing:  []Missing{{"quinn", "no reason"}},
		Profiles: filepath.Join(t.TempDir(), "profiles"),
		Progress: func(done, all int, next string) {
			require.Equal(t, len(told), done)
			require.Equal(t, 5*3*2, all)
			told = append(told, next)
		},
	}
	o.Subjects[2].Can = []Measure{Throughput, Latency, Control, Sessions, Memory}
	r, err := Run(t.Context(), o)
	require.NoError(t, err)
	require.Empty(t, r.Failures)
	require.Equal(t, "throughput 64 B, quicpeer", told[0])
	require.Equal(t, "throughput 64 B, quic-go datagrams", told[15], "another begins the second round")
	require.Equal(t, "", told[30])
	require.DirExists(t, filepath.Join(o.Profiles, "throughput-64"))

	one := func(m Measure, subject, what string) *Series {
		t.Helper()
		for _, s := range r.of(m) {
			if s.Subject == subject && s.Case == what {
				require.Len(t, s.Rounds, 2)
				return s
			}
		}
		require.FailNow(t, "no such series", "%s %s %s", m, subject, what)
		return nil
	}
	s := one(Throughput, QuicpeerName, "")
	// 64,000 bytes at speed 1 between two counts, 100 ms apart by the server's clock.
	require.InDelta(t, 3*640_000, s.Median[bytesPerSecond], 1e-6)
	require.InDelta(t, 3*10_000, s.Median[messagesPerSecond], 1e-6)
	require.InDelta(t, 25, s.Median[lost], 1e-9, "three of four arrived")
	require.InDelta(t, 1.5, s.Against[quicGoName][bytesPerSecond], 1e-9)
	require.InDelta(t, 3, s.Against[udpName][bytesPerSecond], 1e-9)

	s = one(Latency, QuicpeerName, "")
	require.InDelta(t, 100.0/101, s.Median[lost], 1e-9)
	require.InDelta(t, 1e6/3*0.5, s.Median[p50], 1e4)
	require.Greater(t, s.Median[p999], s.Median[p99])
	require.NotEmpty(t, s.Distribution)

	require.InDelta(t, 2, one(Control, udpName, CaseSignal).Median[p50]/one(Control, udpName, CasePing).Median[p50], 1e-3)
	require.InDelta(t, 1000, one(Sessions, QuicpeerName, CaseOpen).Median[opensPerSecond], 1e-9)
	require.Contains(t, one(Sessions, QuicpeerName, CaseOpen).Median, p99)
	require.InDelta(t, 400_000.0/200, one(Memory, QuicpeerName, CaseSessionDialing).Median[eachBytes], 1e-9)
	require.InDelta(t, 200_000.0/20, one(Memory, QuicpeerName, CaseLinkServing).Median[eachBytes], 1e-9)
}

func TestRunTellsWhatFailedAndGoesOn(t *testing.T) {
	t.Parallel()
	for behavior, want := range map[string]string{
		"crash":          "bad serve ended too early with exit status 3; its error output: out of luck",
		"client-crash":   "bad flood 127.0.0.1:9 64 ended too early with exit status 3; its error output: out of luck",
		"crash-counting": "bad serve ended too early with exit status 3; its error output: cannot count",
		"garbage":        `want the line "listening" with an address of this machine, got ["hello" "world"]`,
		"client-garbage": `want the line "ready" with 1 numbers, got "hello world"`,
		"endless":        `with an address of this machine, got ["xxxx`,
		"elsewhere":      `got ["listening" "192.0.2.1:9"]`,
	} {
		r, err := Run(t.Context(), Options{
			Settings: tiny(Throughput),
			Subjects: []Subject{fakeSubject(t, "bad", behavior), fakeSubject(t, QuicpeerName, "good")},
		})
		require.NoError(t, err, behavior)
		require.Len(t, r.Failures, 1, "not tried again: %s", behavior)
		require.Equal(t, 1, r.Failures[0].Round)
		require.Equal(t, "throughput 64 B, bad", r.Failures[0].Step)
		require.Contains(t, r.Failures[0].Error, want, behavior)
		require.Len(t, r.Series, 1, behavior)
		require.Len(t, columns(r.Series[0].Rounds)[lost], 2, "the other was measured in both rounds")
	}
}

func TestRunWithAProgramThatIsNotThere(t *testing.T) {
	t.Parallel()
	s := fakeSubject(t, "gone", "good")
	s.Command[0] = filepath.Join(t.TempDir(), "nothing")
	r, err := Run(t.Context(), Options{Settings: tiny(Latency), Subjects: []Subject{s}})
	require.NoError(t, err)
	require.Contains(t, r.Failures[0].Error, "gone serve: cannot be started")
}

func TestRunRefusesBadSettings(t *testing.T) {
	t.Parallel()
	_, err := Run(t.Context(), Options{})
	require.ErrorContains(t, err, "--rounds")
}

func TestProgramsThatSayNothingOrDoNotEnd(t *testing.T) {
	t.Parallel()
	p, err := start(t.Context(), fakeSubject(t, "silent", "hang"), nil, "serve")
	require.NoError(t, err)
	_, err = p.next(10 * time.Millisecond)
	require.EqualError(t, err, "silent serve said nothing for 10ms")
	p.abandon()
	_, err = p.next(patience)
	require.ErrorIs(t, err, context.Canceled)

	p, err = start(t.Context(), fakeSubject(t, "stubborn", "stubborn"), nil, "serve")
	require.NoError(t, err)
	_, err = serving(p)
	require.NoError(t, err)
	require.EqualError(t, p.end(10*time.Millisecond), "stubborn serve did not end within 10ms after its input had")
	<-p.ended // killed
}

func TestRunEndsWithItsContext(t *testing.T) {
	t.Parallel()
	for _, behavior := range []string{"hang", "client-hang", "stubborn"} {
		ctx, cancel := context.WithCancel(t.Context())
		began := false
		_, err := Run(ctx, Options{
			Settings: tiny(Throughput),
			Subjects: []Subject{fakeSubject(t, "silent", behavior)},
			Progress: func(int, int, string) {
				began = true
				go cancel()
			},
		})
		require.ErrorIs(t, err, context.Canceled, behavior)
		require.True(t, began)
	}
}

func TestEnvironmentIsKnown(t *testing.T) {
	t.Parallel()
	e := CurrentEnvironment()
	require.NotEmpty(t, e.Go)
	require.NotZero(t, e.CPUs)
	if _, err := os.Stat("/proc/sys/kernel/osrelease"); err == nil {
		require.NotEmpty(t, e.Kernel)
	}
}
