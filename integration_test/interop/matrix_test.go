package main

import (
	"encoding/json"
	"os"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestMatrix runs the matrix where the environment asks for it.
func TestMatrix(t *testing.T) {
	which := os.Getenv("QUICPEER_INTEROP")
	switch which {
	case "all", "available":
	case "":
		t.Skip("peers on other stacks are not built. To run those whose toolchain is there:\n" +
			"\tQUICPEER_INTEROP=available go test -v -timeout 40m ./integration_test/interop\n" +
			"or, with the table they make:\n" +
			"\tintegration_test/interop/setup && go run ./integration_test/interop --dir integration_test/interop")
	default:
		t.Fatalf("QUICPEER_INTEROP is %q, want all or available", which)
	}
	m, err := newMatrix(t.Context(), ".", nil, nil)
	require.NoError(t, err)
	defer m.close()
	m.play(t.Context(), runtime.NumCPU())
	t.Logf("\n%s", m.table())
	require.NoError(t, m.verdict(which == "all"))
}

func reported(t *testing.T, sessions string) (r report) {
	t.Helper()
	require.NoError(t, json.Unmarshal([]byte(`{"ok":true,"sessions":[`+sessions+`]}`), &r))
	return r
}

func TestCompareFindsWhatDiffers(t *testing.T) {
	const (
		closed  = `{"id":0,"end":"closed","code":7,"reason":"bye","sent":3,"received":2,"peer_sent":2,"peer_received":3}`
		aborted = `{"id":1,"end":"aborted","code":9,"sent":1}`
	)
	for name, test := range map[string]struct {
		peers, own string
		differ     int
	}{
		"the same":               {closed, `{"id":0,"end":"peer-closed","code":7,"reason":"bye","sent":2,"received":3,"peer_sent":3,"peer_received":2}`, 0},
		"another reason":         {closed, `{"id":0,"end":"peer-closed","code":7,"reason":"by","sent":2,"received":3,"peer_sent":3,"peer_received":2}`, 1},
		"another code":           {closed, `{"id":0,"end":"peer-closed","code":8,"reason":"bye","sent":2,"received":3,"peer_sent":3,"peer_received":2}`, 1},
		"both closed":            {closed, `{"id":0,"end":"closed","code":7,"reason":"bye","sent":2,"received":3,"peer_sent":3,"peer_received":2}`, 1},
		"a message lost unsaid":  {closed, `{"id":0,"end":"peer-closed","code":7,"reason":"bye","sent":2,"received":2,"peer_sent":3,"peer_received":2}`, 1},
		"all counts differ":      {closed, `{"id":0,"end":"peer-closed","code":7,"reason":"bye","sent":1,"received":1,"peer_sent":1,"peer_received":1}`, 4},
		"counts that none knows": {closed, `{"id":0,"end":"peer-closed","code":7,"reason":"bye","sent":2,"received":3,"peer_sent":-1,"peer_received":-1}`, 0},
		"aborted":                {aborted, `{"id":1,"end":"aborted","code":9,"sent":4}`, 0},
		"aborted otherwise":      {aborted, `{"id":1,"end":"aborted","code":1,"sent":4}`, 1},
		"not there":              {closed, aborted, 1},
		"there twice":            {aborted + "," + aborted, aborted, 1},
		"rejected is not told":   {`{"id":1,"end":"rejected"}`, ``, 0},
	} {
		t.Run(name, func(t *testing.T) {
			require.Len(t, compare(reported(t, test.peers), reported(t, test.own)), test.differ)
		})
	}
}

func TestTableSaysWhatIsNotPossible(t *testing.T) {
	m := &matrix{
		cases:  []string{"open", "anonymous"},
		stacks: []*stack{{Name: "a", Stack: "A", Version: "1", Language: "C", Vectors: 5}, {Name: "b", Missing: "no compiler"}},
		cells: []cell{
			{Stack: "a", Role: "dial", Case: "open", Pass: true},
			{Stack: "a", Role: "listen", Case: "open", Impossible: "it only dials"},
			{Stack: "a", Role: "dial", Case: "anonymous", Failures: []string{"it was let in"}},
		},
	}
	table := m.table()
	for _, line := range []string{
		"| A | 1 | C | all 5 |", "| b | | | missing: no compiler |",
		"| open | ✓ 1 |", "| anonymous | ✗ – |", "1. it only dials",
	} {
		require.Contains(t, table, line+"\n")
	}
	require.ErrorContains(t, m.verdict(false), "it was let in")
	require.ErrorContains(t, m.verdict(true), "no compiler")
	m.cells = m.cells[:2]
	require.NoError(t, m.verdict(false))
	require.Error(t, m.verdict(true), "a missing stack")
}
