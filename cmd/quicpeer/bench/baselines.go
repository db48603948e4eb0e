package bench

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// baselinesFolder is where they are in this module.
const baselinesFolder = "integration_test/baselines"

// FindBaselines returns the folder of baselines of the module that dir is in, or
// fs.ErrNotExist.
func FindBaselines(dir string) (string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			found := filepath.Join(dir, filepath.FromSlash(baselinesFolder))
			if _, err := os.Stat(found); err != nil {
				return "", err
			}
			return found, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", fmt.Errorf("no Go module here: %w", fs.ErrNotExist)
		}
		dir = parent
	}
}

// Folder is a baseline that can be built.
type Folder struct {
	Name string
	path string
	kind *toolchain
}

// OnlyGo reports whether it needs nothing but Go.
func (f Folder) OnlyGo() bool { return f.kind == goToolchain }

// toolchain is a way to build a folder.
type toolchain struct {
	program string // that must be in the path
	where   string // to get it, for people
	// build builds a folder, with dir for what it leaves behind, and returns the
	// program.
	build func(ctx context.Context, f Folder, dir string) (string, error)
}

var (
	goToolchain    = &toolchain{"go", "https://go.dev/dl", buildGo}
	cargoToolchain = &toolchain{"cargo", "https://rustup.rs", buildCargo}
	cmakeToolchain = &toolchain{"cmake", "https://cmake.org", buildCMake}
)

// Folders returns the baselines below a folder, in the order in which they are
// shown. Folders without a program are left out.
func Folders(dir string) ([]Folder, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var all []Folder
	for _, e := range entries {
		f := Folder{Name: e.Name(), path: filepath.Join(dir, e.Name())}
		switch {
		case !e.IsDir():
			continue
		case f.has("main.go"):
			f.kind = goToolchain
		case f.has("Cargo.toml") && f.has("src/main.rs"):
			f.kind = cargoToolchain
		case f.has("CMakeLists.txt"):
			f.kind = cmakeToolchain
		default:
			continue
		}
		all = append(all, f)
	}
	slices.SortFunc(all, func(a, b Folder) int { return compareNames(a.Name, b.Name) })
	return all, nil
}

func (f Folder) has(file string) bool {
	_, err := os.Stat(filepath.Join(f.path, filepath.FromSlash(file)))
	return err == nil
}

// Builder builds baselines.
type Builder struct {
	dir string
}

// NewBuilder returns a builder that keeps what it builds in the user's cache, so
// that the next build is quick, or, where there is none, in a temporary folder that
// remove removes.
func NewBuilder() (b Builder, remove func(), err error) {
	if cache, err := os.UserCacheDir(); err == nil {
		dir := filepath.Join(cache, "quicpeer", "bench")
		if os.MkdirAll(dir, 0o777) == nil {
			return Builder{dir}, func() {}, nil
		}
	}
	dir, err := os.MkdirTemp("", "quicpeer-bench")
	return Builder{dir}, func() { _ = os.RemoveAll(dir) }, err
}

// Build builds baselines. progress, which may be nil, is told before each. Those
// that cannot be built are missing; an error is returned only if ctx ends.
func (b Builder) Build(ctx context.Context, folders []Folder, progress func(name string)) (subjects []Subject, missing []Missing, err error) {
	for _, f := range folders {
		if progress != nil {
			progress(f.Name)
		}
		program, err := b.buildOne(ctx, f)
		if ctx.Err() != nil {
			return nil, nil, context.Cause(ctx)
		}
		if err != nil {
			missing = append(missing, Missing{f.Name, err.Error()})
			continue
		}
		subjects = append(subjects, baseline(f.Name, program)...)
	}
	return subjects, missing, nil
}

var harmlessName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*$`)

func (b Builder) buildOne(ctx context.Context, f Folder) (string, error) {
	if !harmlessName.MatchString(f.Name) || f.Name == QuicpeerName {
		return "", fmt.Errorf("a baseline cannot be called %q", f.Name)
	}
	if _, err := exec.LookPath(f.kind.program); err != nil {
		return "", fmt.Errorf("it is built with %s, which is not found; get it from %s", f.kind.program, f.kind.where)
	}
	dir := filepath.Join(b.dir, f.Name)
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, buildTime, errors.New("stopped after "+buildTime.String()))
	defer cancel()
	program, err := f.kind.build(ctx, f, dir)
	if cause := context.Cause(ctx); err != nil && cause != nil {
		err = cause
	}
	if err != nil {
		return "", fmt.Errorf("building it with %s: %w", f.kind.program, err)
	}
	return filepath.Abs(program)
}

// Select returns the folders with some of the names, or all of them if names is
// empty; an error names what there is.
func Select(all []Folder, names []string) ([]Folder, error) {
	if len(names) == 0 {
		return all, nil
	}
	var chosen []Folder
	var known []string
	for _, f := range all {
		known = append(known, f.Name)
		if slices.Contains(names, f.Name) {
			chosen = append(chosen, f)
		}
	}
	for _, n := range names {
		if !slices.Contains(known, n) {
			return nil, fmt.Errorf("there is no baseline %q; there are: %s", n, strings.Join(known, ", "))
		}
	}
	return chosen, nil
}
