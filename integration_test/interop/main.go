// Command interop runs the interop matrix: the peers on other QUIC stacks in
// the folders beside it, each against the counterpart made with the library, in
// both roles, case by case. It builds what it needs. The README has the
// contract.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"strings"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "interop:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("interop", flag.ContinueOnError)
	stacks := flags.String("stacks", "", "which `stacks`, by comma; all if empty")
	only := flags.String("cases", "", "which `cases`, by comma; all if empty")
	dir := flags.String("dir", ".", "the `folder` of this command's sources, from which the module is built")
	all := flags.Bool("all", false, "a stack that cannot be built is a failure")
	markdown := flags.String("markdown", "", "write the table to this `file`")
	jsonFile := flags.String("json", "", "write all results to this `file`")
	parallel := flags.Int("parallel", runtime.NumCPU(), "how many cases at a time")
	if err := flags.Parse(args); err != nil {
		return err
	}
	m, err := newMatrix(ctx, *dir, list(*stacks), list(*only))
	if err != nil {
		return err
	}
	defer m.close()
	m.play(ctx, *parallel)
	table := m.table()
	fmt.Print(table)
	if *markdown != "" {
		if err := os.WriteFile(*markdown, []byte(table), 0o644); err != nil {
			return err
		}
	}
	if *jsonFile != "" {
		if err := m.writeJSON(*jsonFile); err != nil {
			return err
		}
	}
	return m.verdict(*all)
}

func list(s string) []string {
	if s == "" {
		return nil
	}
	return strings.Split(s, ",")
}
