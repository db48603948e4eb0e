package main

import (
	"net"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/oneportnet/quicpeer/session"
)

var testID = strings.Repeat("a", 52)

func TestParseLine(t *testing.T) {
	for line, want := range map[string]chatLine{
		"":                         {},
		"  \t":                     {},
		"hello":                    {verb: verbSay, text: "hello"},
		"  kept as it is ":         {verb: verbSay, text: "  kept as it is "},
		"//etc":                    {verb: verbSay, text: "/etc"},
		"/signal now or never":     {verb: verbSignal, text: "now or never"},
		"/to 2 hello there":        {verb: verbSay, session: 2, chosen: true, text: "hello there"},
		"/to 2 //etc":              {verb: verbSay, session: 2, chosen: true, text: "/etc"},
		"/to 2 /signal x":          {verb: verbSignal, session: 2, chosen: true, text: "x"},
		"/dial localhost:9000":     {verb: verbDial, target: dialTarget{address: "localhost:9000"}},
		"/dial [::1]:1#" + testID:  {verb: verbDial, target: dialTarget{address: "[::1]:1"}},
		"/list":                    {verb: verbList},
		"/stats":                   {verb: verbStats},
		"/stats 3":                 {verb: verbStats, session: 3, chosen: true},
		"/ping 1":                  {verb: verbPing, session: 1, chosen: true},
		"/trust known":             {verb: verbTrust, text: "known"},
		"/id":                      {verb: verbID},
		"/help":                    {verb: verbHelp},
		"/quit":                    {verb: verbQuit},
		"/quit so long":            {verb: verbQuit, text: "so long"},
		"/close":                   {verb: verbClose},
		"/close all":               {verb: verbClose, chosen: true},
		"/close 4":                 {verb: verbClose, session: 4, chosen: true},
		"/close 4 0x100 two words": {verb: verbClose, session: 4, chosen: true, code: 0x100, text: "two words"},
		"/close all 0 bye":         {verb: verbClose, chosen: true, text: "bye"},
		"/close 1 300":             {verb: verbClose, session: 1, chosen: true, code: 300},
	} {
		got, err := parseLine(line)
		require.NoError(t, err, "%q", line)
		require.Equal(t, want, got, "%q", line)
	}
}

func TestParseLineExplainsMistakes(t *testing.T) {
	for line, want := range map[string]string{
		"/nonsense":       "there is no command /nonsense",
		"/list 1":         "/list takes nothing",
		"/to":             `"" is not the number of a session`,
		"/to x y":         `"x" is not the number`,
		"/to 1":           "something is missing",
		"/to 1 /list":     "/to is for messages",
		"/to 1 /to 2 x":   "/to is for messages",
		"/signal":         "something is missing",
		"/trust ":         "something is missing",
		"/dial":           "is not HOST:PORT",
		"/dial :9000":     "is not HOST:PORT",
		"/dial host:0":    "not a number from 1 to 65535",
		"/dial host:http": "not a number from 1 to 65535",
		"/dial host:1#":   "0 characters",
		"/stats -1":       "not the number of a session",
		"/close bye":      `"bye" is not the number`,
		"/close 1 bye":    `"bye" is not a code`,
		"/close 1 1":      "belongs to the protocol",
		"/close 1 0 " + strings.Repeat("x", session.MaxReason+1): "1024 bytes",
		"/quit " + strings.Repeat("x", session.MaxReason+1):      "1024 bytes",
	} {
		_, err := parseLine(line)
		require.ErrorContains(t, err, want, "%q", line)
	}
}

// FuzzParseLine: text stays as it is, whatever it is, and a line for one
// session means what the same line means for all.
func FuzzParseLine(f *testing.F) {
	for _, s := range []string{"", "hello", "/to 1 x", "/close 1 0x100 y", "//", "/signal z"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, line string) {
		l, err := parseLine(line)
		if err != nil {
			require.NotEmpty(t, err.Error())
			return
		}
		if l.verb != verbSay || l.chosen {
			return
		}
		require.Equal(t, strings.TrimPrefix(line, "/"), l.text)
		if strings.TrimSpace(l.text) != l.text || strings.ContainsAny(line, "\t") {
			return // words are separated by any number of spaces
		}
		one, err := parseLine("/to 7 " + line)
		require.NoError(t, err)
		require.Equal(t, chatLine{verb: verbSay, session: 7, chosen: true, text: l.text}, one)
	})
}

// FuzzParseTarget: what is accepted can be dialed and written again, and means
// the same, whatever stands around it.
func FuzzParseTarget(f *testing.F) {
	for _, s := range []string{"localhost:9000", "[::1]:1#" + testID, "host:65535#", "[fe80::1%eth0]:1", "a:b:1", "host:00080"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		target, err := parseTarget(s)
		if err != nil {
			require.Empty(t, target.id, "no target beside an error")
			require.NotEmpty(t, err.Error())
			return
		}
		host, port, err := net.SplitHostPort(target.address)
		require.NoError(t, err)
		require.NotEmpty(t, host)
		n, err := strconv.ParseUint(port, 10, 16)
		require.NoError(t, err)
		require.NotZero(t, n)
		written := target.address
		if strings.Contains(s, "#") {
			written += "#" + target.id.String()
		} else {
			require.True(t, target.id.IsZero(), "no id unless one is given")
		}
		again, err := parseTarget(" " + written + " ")
		require.NoError(t, err)
		require.Equal(t, target, again)
	})
}
