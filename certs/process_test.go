package certs

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

const (
	childTask = "QUICPEER_CERTS_TEST_TASK"
	childFile = "QUICPEER_CERTS_TEST_FILE"
	childName = "QUICPEER_CERTS_TEST_NAME"

	childPeers = 10
)

// runChild is the main function of a child process.
func runChild(task string) int {
	path, name := os.Getenv(childFile), os.Getenv(childName)
	err := errors.New("no such task")
	switch task {
	case "create":
		var id *Identity
		if id, err = LoadOrCreate(path); err == nil {
			fmt.Print(id.ID())
		}
	case "add":
		var f *KnownPeersFile
		f, err = KnownPeers(path)
		for i := 0; i < childPeers && err == nil; i++ {
			err = f.Add(fmt.Sprintf("%s-%d", name, i), PeerID{1})
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// children runs a task in several processes at once.
func children(t *testing.T, n int, task, path string) (output []string) {
	t.Helper()
	if runtime.GOOS == "js" || runtime.GOOS == "wasip1" || runtime.GOOS == "ios" {
		t.Skip("no processes here")
	}
	self, err := os.Executable()
	wantNoError(t, err, "find this binary")
	output = make([]string, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			cmd := exec.Command(self)
			cmd.Env = append(os.Environ(), childTask+"="+task, childFile+"="+path, childName+"="+fmt.Sprint(i))
			var stderr strings.Builder
			cmd.Stderr = &stderr
			out, err := cmd.Output()
			if err != nil {
				t.Errorf("child: %v: %s", err, stderr.String())
			}
			output[i] = string(out)
		})
	}
	wg.Wait()
	return output
}

func TestLoadOrCreateAcrossProcesses(t *testing.T) {
	path := filepath.Join(t.TempDir(), "peer.key")
	ids := children(t, 8, "create", path)
	id, err := Load(path)
	wantNoError(t, err, "load")
	for _, got := range ids {
		want(t, got == id.ID().String(), "one process creates, the others load: %q", ids)
	}
	wantFiles(t, filepath.Dir(path), "peer.key")
}

func TestKnownPeersAcrossProcesses(t *testing.T) {
	path := filepath.Join(t.TempDir(), "known")
	const n = 6
	children(t, n, "add", path)
	f, err := KnownPeers(path)
	wantNoError(t, err, "read")
	for i := range n {
		for j := range childPeers {
			_, ok, err := f.Lookup(fmt.Sprintf("%d-%d", i, j))
			want(t, ok && err == nil, "no update is lost, but %d-%d: %v", i, j, err)
		}
	}
	wantFiles(t, filepath.Dir(path), "known")
}

func TestLockIsWaitedForAndGivenUp(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	unlock, err := lockFile(path)
	wantNoError(t, err, "lock")
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		_, err := lockFile(path)
		wantText(t, err, "another process", "remove "+path+".lock")
		want(t, time.Since(start) == lockWait, "the whole wait, got %v", time.Since(start))
	})
	synctest.Test(t, func(t *testing.T) {
		time.AfterFunc(time.Second, unlock)
		again, err := lockFile(path)
		wantNoError(t, err, "the lock is free after a second")
		again()
	})
	wantFiles(t, filepath.Dir(path))
}
