package main

import (
	"os"
	"runtime/debug"
	"testing"

	"github.com/stretchr/testify/require"
)

// inProcess runs a command that needs no process of its own.
func inProcess(t *testing.T, args ...string) (code int, out, errs string) {
	t.Helper()
	o, e := newRecord(), newRecord()
	code = execute(args, stdio{os.Stdin, o, e})
	return code, o.String(), e.String()
}

func TestEveryCommandExplainsItself(t *testing.T) {
	for _, args := range [][]string{{}, {"demo"}, {"run"}, {"bench"}, {"id"}, {"version"}} {
		code, out, errs := inProcess(t, append(args, "--help")...)
		require.Equal(t, exitOK, code, args)
		require.Contains(t, out, "Examples:", args)
		require.Empty(t, errs, args)
	}
	_, out, _ := inProcess(t)
	require.Contains(t, out, "Exit status:", "without arguments the command explains itself too")
	require.NotContains(t, out, "demo-peer")
	code, out, _ := inProcess(t, "completion", "bash")
	require.Equal(t, exitOK, code)
	require.Contains(t, out, "quicpeer")
}

func TestMistakesInTheCommandLine(t *testing.T) {
	t.Setenv("XDG_CONFIG_HOME", t.TempDir())
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"dmo"}, `there is no command "dmo", perhaps demo is meant`},
		{[]string{"--nonsense"}, "unknown flag"},
		{[]string{"demo", "9000"}, "takes no arguments"},
		{[]string{"demo", "--ports", "1"}, "--ports needs two ports"},
		{[]string{"demo", "--ports", "1,70000"}, "70000 is not a port"},
		{[]string{"demo", "--loss", "99"}, "--loss"},
		{[]string{"demo", "--messages", "-1"}, "negative"},
		{[]string{"demo", "--timeout", "0s"}, "no time"},
		{[]string{"id", "--force"}, "--force is for --new"},
		{[]string{"run", "--dial", "nowhere"}, `"nowhere" is not HOST:PORT`},
		{[]string{"run", "--dial", "localhost:9000#abc"}, "3 characters where a peer id has 52"},
		{[]string{"run", "--ephemeral", "--identity", "x"}, "exclude each other"},
		{[]string{"run", "--log", "loud"}, `"loud" is not debug`},
		{[]string{"run", "--trust", "everyone"}, `"everyone" is not known`},
		{[]string{"run", "--trust", "ca"}, "ca:FILE"},
		{[]string{"run", "--trust", "known", "--trust", "anyone"}, "pointless"},
		{[]string{"run", "--timeout", "0s"}, "no time"},
		{[]string{"run", "--close-timeout", "0s"}, "no time"},
		{[]string{"run", "--wait", "-1s"}, "negative"},
	} {
		code, out, errs := inProcess(t, c.args...)
		require.Equal(t, exitUsage, code, c.args)
		require.Empty(t, out, c.args)
		require.Contains(t, errs, c.want, c.args)
		require.Contains(t, errs, "--help'", c.args)
	}
}

func TestVersionComesFromTheBuild(t *testing.T) {
	code, out, _ := inProcess(t, "version")
	require.Equal(t, exitOK, code)
	require.Contains(t, out, "quicpeer/1")
	info := &debug.BuildInfo{
		Deps:     []*debug.Module{{Path: "github.com/quic-go/quic-go", Version: "v9.8.7"}},
		Settings: []debug.BuildSetting{{Key: "vcs.revision", Value: "0123456789abcdef0123"}, {Key: "vcs.modified", Value: "true"}},
	}
	line := describeBuild(info)
	require.Contains(t, line, "built from a working copy")
	require.Contains(t, line, "revision 0123456789ab with changes")
	require.Contains(t, line, "quic-go v9.8.7")
	info.Main.Version = "v1.2.3"
	require.Contains(t, describeBuild(info), "quicpeer v1.2.3 (")
}
