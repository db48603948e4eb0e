package main

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"

	"github.com/oneportnet/quicpeer/quicpeer"
)

func newVersion(std stdio) *cobra.Command {
	return &cobra.Command{
		Use:     "version",
		Short:   "Show what this binary was built from",
		Example: "  quicpeer version",
		Args:    noArgs,
		RunE: func(*cobra.Command, []string) error {
			_, err := fmt.Fprintln(std.out, versionLine())
			return err
		},
	}
}

// versionLine describes the build in one line.
func versionLine() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		info = &debug.BuildInfo{}
	}
	return describeBuild(info)
}

func describeBuild(info *debug.BuildInfo) string {
	version := info.Main.Version
	if version == "" || version == "(devel)" {
		version = "(built from a working copy)"
	}
	settings := make(map[string]string, len(info.Settings))
	for _, s := range info.Settings {
		settings[s.Key] = s.Value
	}
	parts := []string{"protocol " + quicpeer.ALPN}
	// A pseudo-version carries the revision already.
	if revision := settings["vcs.revision"]; revision != "" && !strings.Contains(version, revision[:min(12, len(revision))]) {
		revision = revision[:min(12, len(revision))]
		if settings["vcs.modified"] == "true" {
			revision += " with changes"
		}
		parts = append(parts, "revision "+revision)
	}
	for _, d := range info.Deps {
		if d.Path == "github.com/quic-go/quic-go" {
			parts = append(parts, "quic-go "+d.Version)
		}
	}
	parts = append(parts, runtime.Version(), runtime.GOOS+"/"+runtime.GOARCH)
	return "quicpeer " + version + " (" + strings.Join(parts, ", ") + ")"
}
