package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// buildTime is far longer than the largest baseline takes on a slow machine, with
// nothing cached.
const buildTime = 30 * time.Minute

// command runs a command of a toolchain in a folder. Its standard output goes to
// out; what it says for people, which is all of it if out is nil, goes into the
// error if it fails.
func command(ctx context.Context, dir string, out io.Writer, words ...string) error {
	cmd := exec.CommandContext(ctx, words[0], words[1:]...)
	ownGroup(cmd)
	cmd.WaitDelay = killDelay
	cmd.Dir = dir
	said := &tail{}
	cmd.Stdout, cmd.Stderr = out, said
	if out == nil {
		cmd.Stdout = said
	}
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w\n%s", strings.Join(words[:min(2, len(words))], " "), err, strings.TrimSpace(said.String()))
	}
	return nil
}

// executable is the name that a program has on this system.
func executable(name string) string {
	if runtime.GOOS == "windows" {
		return name + ".exe"
	}
	return name
}

func buildGo(ctx context.Context, f Folder, dir string) (string, error) {
	program, err := filepath.Abs(filepath.Join(dir, executable(f.Name)))
	if err != nil {
		return "", err
	}
	return program, command(ctx, f.path, nil, "go", "build", "-o", program, ".")
}

func buildCargo(ctx context.Context, f Folder, dir string) (string, error) {
	var messages bytes.Buffer
	err := command(ctx, "", &messages, "cargo", "build", "--release", "--message-format=json-render-diagnostics",
		"--manifest-path", filepath.Join(f.path, "Cargo.toml"), "--target-dir", dir)
	if err != nil {
		return "", err
	}
	// One JSON object a line; that of the program has its path.
	for d := json.NewDecoder(&messages); ; {
		var m struct {
			Executable string `json:"executable"`
		}
		switch err := d.Decode(&m); {
		case err == io.EOF:
			return "", errors.New("cargo has built no program")
		case err != nil:
			return "", err
		case m.Executable != "":
			return m.Executable, nil
		}
	}
}

func buildCMake(ctx context.Context, f Folder, dir string) (string, error) {
	err := command(ctx, "", nil, "cmake", "-S", f.path, "-B", dir, "-DCMAKE_BUILD_TYPE=Release")
	if err != nil {
		return "", err
	}
	if err := command(ctx, "", nil, "cmake", "--build", dir, "--config", "Release"); err != nil {
		return "", err
	}
	// Generators for many configurations have a folder for each.
	for _, in := range []string{dir, filepath.Join(dir, "Release")} {
		program := filepath.Join(in, executable(f.Name))
		if path, err := exec.LookPath(program); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("cmake has built no program called %s", f.Name)
}
