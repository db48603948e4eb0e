package lines

import (
	"os"
	"runtime/pprof"
)

// ProfileVariable is the environment variable that names a folder: a program
// writes a CPU profile of its whole run there, MODE.cpu.
const ProfileVariable = "BENCH_PROFILE"

// profile begins a profile if it is asked for, and returns what ends it.
func profile(mode string) (stop func(), err error) {
	dir := os.Getenv(ProfileVariable)
	if dir == "" {
		return func() {}, nil
	}
	f, err := os.Create(dir + "/" + mode + ".cpu")
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return nil, err
	}
	return func() {
		pprof.StopCPUProfile()
		_ = f.Close()
	}, nil
}
