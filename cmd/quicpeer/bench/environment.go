package bench

import (
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"time"
)

// Environment is where a bench ran.
type Environment struct {
	Time     time.Time `json:"time"` // when it began
	Quicpeer string    `json:"quicpeer"`
	QUICGo   string    `json:"quic_go"`
	Go       string    `json:"go"`
	OS       string    `json:"os"`
	Arch     string    `json:"arch"`
	Kernel   string    `json:"kernel,omitempty"` // where it is easily known
	CPU      string    `json:"cpu,omitempty"`    // likewise
	CPUs     int       `json:"cpus"`
}

// CurrentEnvironment describes this machine and this build.
func CurrentEnvironment() Environment {
	e := Environment{
		Time:     time.Now().Round(time.Second),
		Quicpeer: "unknown",
		QUICGo:   "unknown",
		Go:       runtime.Version(),
		OS:       runtime.GOOS,
		Arch:     runtime.GOARCH,
		Kernel:   kernel(),
		CPU:      cpuModel(),
		CPUs:     runtime.NumCPU(),
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return e
	}
	e.Quicpeer = info.Main.Version
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && !strings.Contains(e.Quicpeer, s.Value[:min(12, len(s.Value))]) {
			e.Quicpeer += " " + s.Value
		}
	}
	for _, d := range info.Deps {
		if d.Path == "github.com/quic-go/quic-go" {
			e.QUICGo = d.Version
		}
	}
	return e
}

// kernel returns the kernel's release, where a file has it (proc_sys_kernel(5)).
func kernel() string {
	b, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// cpuModel returns the processor's name, where a file has it (proc_cpuinfo(5)).
func cpuModel() string {
	b, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(b)) {
		if name, value, _ := strings.Cut(line, ":"); strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return ""
}
