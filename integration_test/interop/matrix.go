package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/oneportnet/quicpeer/certs"
)

// caseNames are the cases, in the order of the table. Those of dialOnly are
// not played in the role listen.
var caseNames = []string{
	"handshake", "wrong-id", "refused", "open", "open-rejected", "accept", "reject", "messages", "messages-back", "early",
	"signals", "signals-back", "close-by-peer", "close-here", "crossed", "close-opening", "close-crosses-accept",
	"close-crosses-reject", "bare-fin", "abort", "aborted", "shutdown", "goaway", "unknown", "malformed-frame",
	"malformed-datagram", "malformed-link", "many", "anonymous", "anonymous-refused", "no-datagrams", "one-port",
}

var dialOnly = []string{"anonymous", "anonymous-refused"}

var roles = []string{"dial", "listen"}

// buildTime bounds the build of one stack, on a machine that has nothing cached.
const buildTime = 20 * time.Minute

// A stack is one of the folders.
type stack struct {
	Name      string `json:"name"`
	Stack     string `json:"stack"`
	Version   string `json:"version"`
	Language  string `json:"language"`
	Vectors   int    `json:"vectors"`              // how many test vectors its codec agrees with
	NoVectors string `json:"no_vectors,omitempty"` // why it has no codec
	Missing   string `json:"missing,omitempty"`
	Failed    string `json:"failed,omitempty"` // of what is not a case

	peer string // the program
}

// A cell is the result of one case with one stack in one role.
type cell struct {
	Stack      string   `json:"stack"`
	Role       string   `json:"role"`
	Case       string   `json:"case"`
	Pass       bool     `json:"pass"`
	Impossible string   `json:"impossible,omitempty"`
	Failures   []string `json:"failures,omitempty"`
	Seconds    float64  `json:"seconds"`
}

type matrix struct {
	dir, tmp    string
	counterpart string
	peer, own   party // own is the counterpart
	stranger    certs.PeerID
	stacks      []*stack
	cases       []string
	cells       []cell
}

// newMatrix builds the counterpart and the stacks.
func newMatrix(ctx context.Context, dir string, stacks, only []string) (m *matrix, err error) {
	m = &matrix{cases: caseNames}
	if m.dir, err = filepath.Abs(dir); err != nil {
		return nil, err
	}
	for _, name := range only {
		if !slices.Contains(caseNames, name) {
			return nil, fmt.Errorf("no case %q; there are %s", name, strings.Join(caseNames, ", "))
		}
		m.cases = only
	}
	folders, err := filepath.Glob(filepath.Join(m.dir, "*", "build"))
	if err != nil {
		return nil, err
	}
	for _, folder := range folders {
		name := filepath.Base(filepath.Dir(folder))
		if stacks == nil || slices.Contains(stacks, name) {
			m.stacks = append(m.stacks, &stack{Name: name})
		}
	}
	if len(m.stacks) == 0 || stacks != nil && len(m.stacks) != len(stacks) {
		return nil, fmt.Errorf("found %d of the stacks in %s", len(m.stacks), m.dir)
	}
	if m.tmp, err = os.MkdirTemp("", "quicpeer-interop-"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			m.close()
		}
	}()
	if err := m.makeParties(); err != nil {
		return nil, err
	}
	m.counterpart = filepath.Join(m.tmp, "counterpart")
	build := exec.CommandContext(ctx, "go", "build", "-o", m.counterpart, "./counterpart")
	build.Dir = m.dir
	if out, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("building the counterpart: %w\n%s", err, out)
	}
	for _, s := range m.stacks {
		if err := m.build(ctx, s); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func (m *matrix) close() { _ = os.RemoveAll(m.tmp) } // a folder of the system's

// build makes a stack's program, in a folder that later runs find again.
func (m *matrix) build(ctx context.Context, s *stack) error {
	cache, err := os.UserCacheDir()
	if err != nil {
		return err
	}
	dir := filepath.Join(cache, "quicpeer", "interop", s.Name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	began := time.Now()
	fmt.Fprintf(os.Stderr, "building %s ", s.Name)
	bounded, cancel := context.WithTimeout(ctx, buildTime)
	defer cancel()
	build := exec.CommandContext(bounded, filepath.Join(m.dir, s.Name, "build"), dir)
	out, err := build.CombinedOutput()
	fmt.Fprintf(os.Stderr, "(%.0f s)\n", time.Since(began).Seconds())
	if err != nil {
		s.Missing = fmt.Sprintf("%v: %s", err, lastLine(out))
		if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() != 3 {
			fmt.Fprintf(os.Stderr, "%s\n", out)
		}
		return ctx.Err()
	}
	s.peer = filepath.Join(dir, "peer")
	if out, err = output(ctx, s.peer, "--version"); err == nil {
		err = json.Unmarshal(out, s)
	}
	if err != nil {
		s.Failed = fmt.Sprintf("its version: %v", err)
		return nil
	}
	root := filepath.Join(m.dir, "..", "..")
	out, err = output(ctx, s.peer, "vectors",
		filepath.Join(root, "session", "testdata", "frames.txt"), filepath.Join(root, "datagram", "testdata", "vectors.txt"))
	var r struct {
		OK         bool   `json:"ok"`
		Tried      int    `json:"tried"`
		Impossible string `json:"impossible"`
	}
	switch {
	case exitCode(err) == 3 && json.Unmarshal(out, &r) == nil && r.Impossible != "":
		s.NoVectors = r.Impossible
	case err != nil:
		s.Failed = fmt.Sprintf("test vectors: %v: %s", err, lastLine(out))
	case json.Unmarshal(out, &r) != nil || !r.OK || r.Tried == 0:
		s.Failed = "test vectors: " + lastLine(out)
	}
	s.Vectors = r.Tried
	return nil
}

func output(ctx context.Context, program string, args ...string) ([]byte, error) {
	bounded, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	return exec.CommandContext(bounded, program, args...).Output()
}

func lastLine(out []byte) string {
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	return lines[len(lines)-1]
}

// A party is one side's certificate, key and id.
type party struct {
	cert, key string // files
	id        certs.PeerID
}

func (m *matrix) makeParties() (err error) {
	if m.own, err = makeParty(m.tmp, "counterpart"); err != nil {
		return err
	}
	if m.peer, err = makeParty(m.tmp, "peer"); err != nil {
		return err
	}
	stranger, err := makeParty(m.tmp, "stranger")
	m.stranger = stranger.id
	return err
}

func makeParty(dir, name string) (p party, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return p, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{"localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(10 * 24 * time.Hour),
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return p, err
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return p, err
	}
	if p.id, err = certs.PeerIDFromPublicKey(&key.PublicKey); err != nil {
		return p, err
	}
	p.cert, p.key = filepath.Join(dir, name+".pem"), filepath.Join(dir, name+".key")
	if err := os.WriteFile(p.cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}), 0o644); err != nil {
		return p, err
	}
	return p, os.WriteFile(p.key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}), 0o600)
}

// play plays all cases, so many at a time.
func (m *matrix) play(ctx context.Context, parallel int) {
	for _, s := range m.stacks {
		for _, role := range roles {
			for _, name := range m.cases {
				if s.Missing == "" && (role == "dial" || !slices.Contains(dialOnly, name)) {
					m.cells = append(m.cells, cell{Stack: s.Name, Role: role, Case: name})
				}
			}
		}
	}
	next := make(chan *cell)
	var players sync.WaitGroup
	for range max(1, parallel) {
		players.Go(func() {
			for c := range next {
				m.playOne(ctx, c)
				fmt.Fprintf(os.Stderr, "%-10s %-6s %-20s %s\n", c.Stack, c.Role, c.Case, c.verdict())
			}
		})
	}
	for i := range m.cells {
		next <- &m.cells[i]
	}
	close(next)
	players.Wait()
}

func (c *cell) verdict() string {
	switch {
	case c.Pass:
		return "pass"
	case c.Impossible != "":
		return "not possible: " + c.Impossible
	}
	return "FAIL: " + strings.Join(c.Failures, "; ")
}

func (m *matrix) stack(name string) *stack {
	i := slices.IndexFunc(m.stacks, func(s *stack) bool { return s.Name == name })
	return m.stacks[i]
}

// verdict is an error if anything failed; with all, also if a stack is missing.
func (m *matrix) verdict(all bool) error {
	var bad []string
	for _, s := range m.stacks {
		if s.Failed != "" {
			bad = append(bad, s.Name+": "+s.Failed)
		}
		if all && s.Missing != "" {
			bad = append(bad, s.Name+" is missing: "+s.Missing)
		}
	}
	for i := range m.cells {
		if c := &m.cells[i]; !c.Pass && c.Impossible == "" {
			bad = append(bad, fmt.Sprintf("%s, %s, %s: %s", c.Stack, c.Role, c.Case, c.verdict()))
		}
	}
	if bad != nil {
		return errors.New("failed:\n" + strings.Join(bad, "\n"))
	}
	return nil
}
