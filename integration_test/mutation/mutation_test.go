package main

import (
	"go/parser"
	"go/token"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const sample = `package p

const (
	StateOne = iota
	StateTwo
)

func f(a, b int, ok bool) (n int) {
	if a < b && ok {
		n = 2
		g()
	}
	switch {
	case a == 7:
		n++
	default:
		n = StateOne
	}
	return max(n, a)
}
`

func TestMutate(t *testing.T) {
	got, err := mutate("p.go", []byte(sample), map[string][]string{"State": {"StateOne", "StateTwo"}})
	require.NoError(t, err)
	var what []string
	for _, m := range got {
		what = append(what, m.What)
		require.Equal(t, "f", m.Func)
		require.NotEqual(t, sample, string(m.mutated()), "it changes something")
		require.Contains(t, m.Diff(), "\t-")
	}
	require.ElementsMatch(t, []string{
		`not "a < b && ok"`,
		`&& in "a < b && ok" becomes ||`,
		`only "ok" of "a < b && ok"`,
		`only "a < b" of "a < b && ok"`,
		`< in "a < b" becomes <=`,
		`< in "a < b" becomes >=`,
		`without "n = 2"`,
		`2 becomes 3`,
		`without "g()"`,
		`without the case "a == 7"`,
		`not "a == 7"`,
		`== in "a == 7" becomes !=`,
		`7 becomes 8`,
		`without "n++"`,
		`n++ becomes --`,
		`without "n = StateOne"`,
		`StateOne becomes StateTwo`,
		`max(n, a) becomes min`,
	}, what)
}

func TestMutatedSource(t *testing.T) {
	got, err := mutate("p.go", []byte(sample), nil)
	require.NoError(t, err)
	for what, want := range map[string]string{
		`not "a < b && ok"`:              "if !(a < b && ok) {",
		`&& in "a < b && ok" becomes ||`: "if a < b || ok {",
		`only "ok" of "a < b && ok"`:     "if ok {",
		`n++ becomes --`:                 "n--",
	} {
		found := false
		for _, m := range got {
			if m.What == what {
				found = true
				require.Contains(t, string(m.mutated()), want)
			}
		}
		require.True(t, found, what)
	}
}

// Every preset names files that exist, and every explanation a mutant that
// does, or the tool would look at less than it says.
func TestPresets(t *testing.T) {
	t.Chdir("../..")
	keys := make(map[string]bool)
	for name, p := range presets {
		mutants, err := p.mutants()
		require.NoError(t, err, name)
		require.NotEmpty(t, mutants, name)
		for _, m := range mutants {
			require.False(t, keys[m.Key()], "two mutants are called %s", m.Key())
			keys[m.Key()] = true
		}
	}
	explained, err := readExplained("integration_test/mutation/explained.txt")
	require.NoError(t, err)
	for key := range explained {
		require.True(t, keys[key], "there is no mutant %s", key)
	}
}

// The list of breaks is written by hand, and the code that it breaks goes on
// changing: each old text must still be there, once, and each rule broken twice.
func TestRulings(t *testing.T) {
	t.Chdir("../..")
	mutants, err := mutantsOfRulings()
	require.NoError(t, err)
	breaks := make(map[int]int)
	for i, m := range mutants {
		r := rulings[i]
		breaks[r.rule]++
		changed := m.mutated()
		require.NotEqual(t, string(m.source), string(changed), "%s: it changes nothing", m.Key())
		_, err := parser.ParseFile(token.NewFileSet(), r.file, changed, parser.SkipObjectResolution)
		require.NoError(t, err, m.Key())
		require.Contains(t, m.Diff(), "\t-", m.Key())
	}
	for rule := 1; rule <= 17; rule++ {
		require.GreaterOrEqual(t, breaks[rule], 2, "rule %d", rule)
	}
	require.Len(t, breaks, 17, "there are no other rules")
}

// A text that is not there, or more than once, is no break.
func TestRulingsThatDoNotFit(t *testing.T) {
	t.Chdir(t.TempDir())
	require.NoError(t, os.WriteFile("p.go", []byte("package p\n\nvar a, b = 1, 1\n"), 0o644))
	for old, want := range map[string]string{"3": "0 times", "1": "2 times"} {
		_, err := ruling{rule: 1, what: "three", file: "p.go", old: old, new: "2"}.mutant()
		require.ErrorContains(t, err, want)
	}
	m, err := ruling{rule: 1, what: "a is b", file: "p.go", old: "a, b", new: "b, a"}.mutant()
	require.NoError(t, err)
	require.Equal(t, 3, m.Line)
	require.Equal(t, "package p\n\nvar b, a = 1, 1\n", string(m.mutated()))
}

// The whole way, on a package of its own.
func TestRun(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	write := func(name, text string) {
		require.NoError(t, os.MkdirAll(filepath.Dir(name), 0o755))
		require.NoError(t, os.WriteFile(name, []byte(text), 0o644))
	}
	write("go.mod", "module example\n\ngo 1.24\n")
	write("p/p.go", "package p\n\nfunc Twice(n int) int {\n\tn *= 2\n\tif n > 100 {\n\t\tn = 100\n\t}\n\treturn n\n}\n")
	write("p/p_test.go", "package p\n\nimport \"testing\"\n\nfunc TestTwice(t *testing.T) {\n\tif Twice(2) != 4 {\n\t\tt.Fatal(\"wrong\")\n\t}\n}\n")
	o := options{preset: "machine", dir: "p", files: "p.go", jobs: 2, timeout: 20e9, atLeast: 1, why: "explained.txt", json: "out.json", markdown: "out.md"}
	var out strings.Builder
	ok, err := run(t.Context(), o, &out)
	require.NoError(t, err)
	require.False(t, ok, "not all are caught")
	require.Contains(t, out.String(), `p.go Twice: without "n = 100" -- NOT EXPLAINED`)
	require.NotContains(t, out.String(), `survivor p.go:4 (1)`, "without n *= 2")
	require.Contains(t, readFile(t, "out.md"), "without")
	require.Contains(t, readFile(t, "out.json"), "a test fails")
}

// What was not tried is not caught.
func TestNothingTriedIsNoSuccess(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	require.NoError(t, os.Mkdir("p", 0o755))
	require.NoError(t, os.WriteFile("go.mod", []byte("module example\n\ngo 1.24\n"), 0o644))
	require.NoError(t, os.WriteFile("p/p.go", []byte("package p\n\nfunc F() string { return \"a\" + \"b\" }\n"), 0o644))
	require.NoError(t, os.WriteFile("p/p_test.go", []byte("package p\n\nimport \"testing\"\n\nfunc TestF(t *testing.T) {}\n"), 0o644))
	o := options{preset: "machine", dir: "p", files: "p.go", jobs: 1, timeout: time.Minute, why: "explained.txt"}
	ok, err := run(t.Context(), o, io.Discard)
	require.ErrorContains(t, err, "none of them compiles") // there is no "a" - "b"
	require.False(t, ok)
}

func TestOptionsThatMakeNoSense(t *testing.T) {
	good := options{preset: "machine", jobs: 1, timeout: time.Minute, atLeast: 1, list: true}
	for want, spoil := range map[string]func(*options){
		"no preset":               func(o *options) { o.preset = "machines" },
		"must not be negative":    func(o *options) { o.only = -1 },
		"not be negative":         func(o *options) { o.sample = -1 },
		"--jobs at least 1":       func(o *options) { o.jobs = 0 },
		"want at least 1s":        func(o *options) { o.timeout = 0 },
		"a share of 95":           func(o *options) { o.atLeast = 95 },
		"a share of NaN":          func(o *options) { o.atLeast = math.NaN() },
		"--package needs --files": func(o *options) { o.dir = "session" },
		"has its own":             func(o *options) { o.preset, o.files = "rulings", "machine.go" },
	} {
		o := good
		spoil(&o)
		_, err := run(t.Context(), o, io.Discard)
		require.ErrorContains(t, err, want)
	}
}

func readFile(t *testing.T, name string) string {
	b, err := os.ReadFile(name)
	require.NoError(t, err)
	return string(b)
}
