package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// A mutant is one change to one file.
type mutant struct {
	Number   int
	File     string // its name, without the folder
	Line     int
	Func     string
	What     string // the change, in words and source text
	Fate     fate
	Explains string `json:",omitempty"` // what its tests said first, or why it survives

	path       string
	source     []byte // of the whole file, unchanged
	start, end int    // what is replaced
	with       string
	tests      []testRun // nil: the preset's
	output     string
}

// Key names a mutant in explained.txt. It has no line number, so that it lives
// through changes elsewhere.
func (m *mutant) Key() string { return fmt.Sprintf("%s %s: %s", m.File, m.Func, m.What) }

// mutated returns the file with the change.
func (m *mutant) mutated() []byte {
	return slices.Concat(m.source[:m.start], []byte(m.with), m.source[m.end:])
}

// Diff shows the lines that change.
func (m *mutant) Diff() string {
	from := strings.LastIndexByte(string(m.source[:m.start]), '\n') + 1
	to := m.end
	if i := strings.IndexByte(string(m.source[m.end:]), '\n'); i >= 0 {
		to += i
	}
	var b strings.Builder
	for line := range strings.SplitSeq(string(m.source[from:to]), "\n") {
		fmt.Fprintf(&b, "\t-%s\n", line)
	}
	for line := range strings.SplitSeq(string(m.source[from:m.start])+m.with+string(m.source[m.end:to]), "\n") {
		fmt.Fprintf(&b, "\t+%s\n", line)
	}
	return b.String()
}

// mutantsOf makes all mutants of some files of a package.
func mutantsOf(dir string, files []string) ([]*mutant, error) {
	constants, err := constantsOf(dir)
	if err != nil {
		return nil, err
	}
	var all []*mutant
	for _, name := range files {
		path := filepath.Join(dir, name)
		source, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		made, err := mutate(path, source, constants)
		if err != nil {
			return nil, err
		}
		all = append(all, made...)
	}
	for i, m := range all {
		m.Number = i + 1
	}
	return all, nil
}

// families are the constants that can stand in for each other, by the beginning
// of their names.
var families = []string{"State", "Code", "Cause", "in", "out"}

// family returns which family a constant's name belongs to.
func family(name string) string {
	for _, f := range families {
		if rest, ok := strings.CutPrefix(name, f); ok && rest != "" && rest[0] >= 'A' && rest[0] <= 'Z' {
			return f
		}
	}
	return ""
}

// constantsOf returns the constants of a package by family, in the order in
// which they are declared.
func constantsOf(dir string) (map[string][]string, error) {
	paths, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		return nil, err
	}
	constants := make(map[string][]string)
	for _, path := range paths {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		addConstants(constants, f)
	}
	return constants, nil
}

func addConstants(constants map[string][]string, f *ast.File) {
	for _, d := range f.Decls {
		g, ok := d.(*ast.GenDecl)
		if !ok || g.Tok != token.CONST {
			continue
		}
		for _, s := range g.Specs {
			for _, name := range s.(*ast.ValueSpec).Names {
				if fam := family(name.Name); fam != "" {
					constants[fam] = append(constants[fam], name.Name)
				}
			}
		}
	}
}

// mutator makes the mutants of one file.
type mutator struct {
	set       *token.FileSet
	path      string
	source    []byte
	constants map[string][]string
	function  string
	made      []*mutant
	times     map[string]int // how often a key came, to tell equal ones apart
}

// mutate makes all mutants of one file.
func mutate(path string, source []byte, constants map[string][]string) ([]*mutant, error) {
	m := &mutator{set: token.NewFileSet(), path: path, source: source, constants: constants, times: make(map[string]int)}
	f, err := parser.ParseFile(m.set, path, source, parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	for _, d := range f.Decls {
		fn, ok := d.(*ast.FuncDecl)
		if !ok || fn.Body == nil {
			continue
		}
		m.function = fn.Name.Name
		ast.Inspect(fn.Body, m.visit)
	}
	slices.SortStableFunc(m.made, func(a, b *mutant) int { return a.start - b.start })
	return m.made, nil
}

func (m *mutator) offset(p token.Pos) int { return m.set.Position(p).Offset }

func (m *mutator) text(n ast.Node) string {
	return string(m.source[m.offset(n.Pos()):m.offset(n.End())])
}

// add notes a mutant: the text from one position to another is replaced.
func (m *mutator) add(from, to token.Pos, with, format string, args ...any) {
	what := strings.Join(strings.Fields(fmt.Sprintf(format, args...)), " ")
	if len(what) > 120 {
		what = what[:117] + "..."
	}
	key := m.function + what
	m.times[key]++
	if n := m.times[key]; n > 1 {
		what += fmt.Sprintf(" (%d)", n)
	}
	m.made = append(m.made, &mutant{
		File: filepath.Base(m.path), Line: m.set.Position(from).Line, Func: m.function, What: what,
		path: m.path, source: m.source, start: m.offset(from), end: m.offset(to), with: with,
	})
}

func (m *mutator) visit(n ast.Node) bool {
	switch n := n.(type) {
	case *ast.ExprStmt, *ast.SendStmt:
		m.delete(n)
	case *ast.AssignStmt:
		if n.Tok != token.DEFINE {
			m.delete(n)
		}
	case *ast.IncDecStmt:
		m.delete(n)
		other := map[token.Token]string{token.INC: "--", token.DEC: "++"}[n.Tok]
		m.add(n.TokPos, n.End(), other, "%s becomes %s", m.text(n), other)
	case *ast.ReturnStmt:
		if len(n.Results) == 0 {
			m.delete(n)
		}
	case *ast.IfStmt:
		m.negate(n.Cond)
	case *ast.ForStmt:
		if n.Cond != nil {
			m.negate(n.Cond)
		}
	case *ast.SwitchStmt:
		for _, s := range n.Body.List {
			m.clause(s.(*ast.CaseClause), n.Tag == nil)
		}
	case *ast.TypeSwitchStmt:
		for _, s := range n.Body.List {
			m.clause(s.(*ast.CaseClause), false)
		}
	case *ast.BinaryExpr:
		m.binary(n)
	case *ast.Ident:
		m.ident(n)
	case *ast.BasicLit:
		if v, err := strconv.ParseInt(n.Value, 0, 64); n.Kind == token.INT && err == nil {
			m.add(n.Pos(), n.End(), strconv.FormatInt(v+1, 10), "%s becomes %d", n.Value, v+1)
		}
	case *ast.CallExpr:
		if f, ok := n.Fun.(*ast.Ident); ok && (f.Name == "max" || f.Name == "min") {
			other := map[string]string{"max": "min", "min": "max"}[f.Name]
			m.add(f.Pos(), f.End(), other, "%s becomes %s", m.text(n), other)
		}
	}
	return true
}

func (m *mutator) delete(n ast.Node) { m.add(n.Pos(), n.End(), "", "without %q", m.text(n)) }

func (m *mutator) negate(n ast.Expr) {
	m.add(n.Pos(), n.End(), "!("+m.text(n)+")", "not %q", m.text(n))
}

// clause takes a case out, so that it falls to the default or through; of a
// switch of conditions, it negates them as well.
func (m *mutator) clause(c *ast.CaseClause, conditions bool) {
	if c.List == nil {
		return
	}
	from := c.Case
	m.add(from, c.End(), "", "without the case %q", string(m.source[m.offset(c.List[0].Pos()):m.offset(c.Colon)]))
	if conditions {
		for _, e := range c.List {
			m.negate(e)
		}
	} else if len(c.List) > 1 {
		for i, e := range c.List {
			to := c.Colon
			if i+1 < len(c.List) {
				to = c.List[i+1].Pos()
				m.add(e.Pos(), to, "", "without %q in the case", m.text(e))
			} else {
				m.add(c.List[i-1].End(), to, "", "without %q in the case", m.text(e))
			}
		}
	}
}

// others are what may stand in place of an operator: the boundary, and the
// opposite.
var others = map[token.Token][]string{
	token.LSS: {"<=", ">="}, token.LEQ: {"<", ">"}, token.GTR: {">=", "<="}, token.GEQ: {">", "<"},
	token.EQL: {"!="}, token.NEQ: {"=="},
	token.LAND: {"||"}, token.LOR: {"&&"},
	token.ADD: {"-"}, token.SUB: {"+"},
}

func (m *mutator) binary(n *ast.BinaryExpr) {
	for _, other := range others[n.Op] {
		m.add(n.OpPos, n.OpPos+token.Pos(len(n.Op.String())), other, "%s in %q becomes %s", n.Op, m.text(n), other)
	}
	if n.Op == token.LAND || n.Op == token.LOR {
		m.add(n.Pos(), n.End(), m.text(n.Y), "only %q of %q", m.text(n.Y), m.text(n))
		m.add(n.Pos(), n.End(), m.text(n.X), "only %q of %q", m.text(n.X), m.text(n))
	}
}

// ident replaces a constant by the next of its family, and true by false.
func (m *mutator) ident(n *ast.Ident) {
	other := map[string]string{"true": "false", "false": "true"}[n.Name]
	if fam := m.constants[family(n.Name)]; other == "" && len(fam) > 1 {
		if i := slices.Index(fam, n.Name); i >= 0 {
			other = fam[(i+1)%len(fam)]
		}
	}
	if other != "" {
		m.add(n.Pos(), n.End(), other, "%s becomes %s", n.Name, other)
	}
}
