package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/oneportnet/quicpeer/cmd/quicpeer/bench"
)

// benchFlags is the command line of bench.
type benchFlags struct {
	settings  bench.Settings
	only      []string
	quick     bool
	baselines string
	baseline  []string
	json      string
	plots     []string
	profile   string
	network   benchNetworkFlags
}

func newBench(std stdio) *cobra.Command {
	f := benchFlags{settings: bench.Settings{Seconds: bench.DefaultSeconds}}
	c := &cobra.Command{
		Use:   "bench",
		Short: "Measure this library beside plain UDP and other QUIC stacks",
		Long: `Measure this library beside plain UDP and other QUIC stacks, on this machine.

Each measurement starts two processes that talk over loopback, of quicpeer or of
a baseline, in turn. Measured are:

  throughput  a flood of messages of each size: what the receiving application
              takes, and what is lost
  latency     the round trip of a lone message
  control     pings, signals, opening and closing while the link is saturated
  sessions    opening sessions; of bare quic-go, streams
  memory      what idle sessions and links cost

Baselines are programs in a folder, each built at the start with what it needs:
go, cargo or cmake. What cannot be built is left out, and the result says why.

The table goes to standard output, the progress to standard error if that is a
terminal. A run with all baselines takes a quarter of an hour or more; leave the
machine alone meanwhile. --quick is for trying it out.

To measure quicpeer over a real network, start one side with --serve and the
other with --connect. Both must trust each other, as with 'quicpeer run'; --serve
serves this measurement and nothing else, until Ctrl-C. Then throughput, latency
and sessions are measured; what was lost is what both sides agree on when a
session closes. Whom to trust:
` + trustHelp + `

Exit status: 0 if everything was measured, missing baselines aside; 1 if
something failed; 2 if the command line is wrong; 130 after Ctrl-C.`,
		Example: `  quicpeer bench --quick
  quicpeer bench --json result.json --plot result.svg,result.png
  quicpeer bench --only throughput --sizes 64,1390 --baseline quicgo,udp
  quicpeer bench --serve --listen :9000 --trust PEERID
  quicpeer bench --connect 192.0.2.7:9000#PEERID --seconds 10`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			settings, err := f.check(c.Flags())
			if err != nil {
				return &usageError{err}
			}
			f.settings = settings
			ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			if f.network.serve {
				return benchServer(ctx, std, f.network)
			}
			err = runBench(ctx, std, f)
			if ctx.Err() != nil {
				fmt.Fprintln(std.err, "quicpeer: interrupted; the bench's processes are gone")
				return statusError(exitInterrupted)
			}
			return err
		},
	}
	fs := c.Flags()
	fs.SortFlags = false
	fs.StringSliceVar(&f.only, "only", nil, "measure only some of `WHAT`: throughput, latency, control, sessions, memory")
	fs.IntSliceVar(&f.settings.Sizes, "sizes", bench.DefaultSizes(), "the `SIZES` of messages for throughput, in bytes")
	fs.IntVar(&f.settings.Rounds, "rounds", bench.DefaultRounds, "how many rounds; results are medians over them")
	fs.Float64Var(&f.settings.Seconds, "seconds", bench.DefaultSeconds, "how long each flood is measured")
	fs.IntVar(&f.settings.Pings, "pings", bench.DefaultPings, "how many round trips are measured for latency")
	fs.BoolVar(&f.quick, "quick", false, "try it out: one short round, few sizes, and only baselines in Go;\nany other flag may say otherwise")
	fs.StringVar(&f.baselines, "baselines", "", "the `FOLDER` of the baselines (default integration_test/baselines\nof the module in the working directory)")
	fs.StringSliceVar(&f.baseline, "baseline", nil, "measure only these `BASELINES`, or none; a baseline is called as its folder")
	fs.StringVar(&f.json, "json", "", "write everything that was measured to this `FILE`;\n- for standard output, instead of the table")
	fs.StringSliceVar(&f.plots, "plot", nil, "draw throughput and latency into this `FILE`, .svg or .png; may be repeated")
	fs.StringVar(&f.profile, "profile", "", "write CPU profiles of quicpeer's processes into this `DIRECTORY`;\nthis takes time itself")
	f.network.add(fs)
	return c
}

func (f *benchNetworkFlags) add(fs *pflag.FlagSet) {
	fs.BoolVar(&f.serve, "serve", false, "be the side that another one measures against, until interrupted")
	fs.StringVar(&f.connect, "connect", "", "measure against a peer that serves, at `HOST:PORT[#PEERID]`")
	fs.StringVarP(&f.listen, "listen", "l", ":0", "with --serve or --connect: the UDP `ADDRESS` to use")
	fs.StringArrayVarP(&f.trust, "trust", "t", nil, "with --serve or --connect: `WHOM` to trust, see above; may be repeated\n(default known)")
	fs.StringVar(&f.identity, "identity", "", "with --serve or --connect: the key `FILE`, created if it does not exist\n(default "+configDisplay(identityFile)+")")
	fs.BoolVar(&f.ephemeral, "ephemeral", false, "with --serve or --connect: use a new identity, and keep it nowhere")
	fs.DurationVar(&f.timeout, "timeout", 10*time.Second, "with --connect: give up a dial after this long")
}

// check finds mistakes, and returns the settings that the flags mean.
func (f *benchFlags) check(fs *pflag.FlagSet) (bench.Settings, error) {
	s := f.settings
	if f.quick {
		s = bench.QuickSettings()
		for flag, set := range map[string]func(){
			"sizes":   func() { s.Sizes = f.settings.Sizes },
			"rounds":  func() { s.Rounds = f.settings.Rounds },
			"seconds": func() { s.Seconds = f.settings.Seconds },
			"pings":   func() { s.Pings = f.settings.Pings },
		} {
			if fs.Changed(flag) {
				set()
			}
		}
	}
	s.Only = bench.Measures
	if f.network.connect != "" {
		s.Only = networkMeasures
	}
	if fs.Changed("only") {
		s.Only = nil
		for _, m := range f.only {
			s.Only = append(s.Only, bench.Measure(strings.TrimSpace(m)))
		}
	}
	if err := s.Check(); err != nil {
		return s, err
	}
	for _, p := range f.plots {
		if err := bench.CheckPlotFile(p); err != nil {
			return s, fmt.Errorf("--plot: %w", err)
		}
	}
	if err := f.network.check(fs, s.Only); err != nil {
		return s, err
	}
	// It is better to know before an hour's work that its result has no place.
	for _, file := range append(slices.Clone(f.plots), f.json) {
		if info, err := os.Stat(filepath.Dir(file)); err != nil || !info.IsDir() {
			return s, fmt.Errorf("there is no directory for the file %s", file)
		}
	}
	return s, nil
}

// runBench measures, and shows the result.
func runBench(ctx context.Context, std stdio, f benchFlags) error {
	bar := newBenchProgress(std.err)
	var report *bench.Report
	var err error
	if f.network.connect != "" {
		report, err = benchConnect(ctx, std, f, bar)
	} else {
		report, err = benchLocal(ctx, f, bar)
	}
	bar.end()
	if err != nil {
		return err
	}
	if err := writeReport(std, f, report); err != nil {
		return err
	}
	if len(report.Failures) > 0 {
		return statusError(exitFailure)
	}
	return nil
}

// benchLocal measures on this machine.
func benchLocal(ctx context.Context, f benchFlags, bar *benchProgress) (*bench.Report, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("the bench starts this program once more for each process: %w", err)
	}
	o := bench.Options{
		Settings: f.settings,
		Subjects: []bench.Subject{bench.Quicpeer(exe, "bench-peer"), bench.QuicpeerBatch(exe, "bench-peer")},
		Profiles: f.profile,
		Progress: bar.step,
	}
	folders, missing, err := f.folders()
	if err != nil {
		return nil, err
	}
	o.Missing = missing
	builder, remove, err := bench.NewBuilder()
	if err != nil {
		return nil, err
	}
	defer remove()
	built, failed, err := builder.Build(ctx, folders, func(name string) { bar.say("building " + name) })
	if err != nil {
		return nil, err
	}
	o.Subjects, o.Missing = append(o.Subjects, built...), append(o.Missing, failed...)
	return bench.Run(ctx, o)
}

// folders are the baselines to be built, and those that will not be.
func (f *benchFlags) folders() ([]bench.Folder, []bench.Missing, error) {
	if slices.Equal(f.baseline, []string{"none"}) {
		return nil, nil, nil
	}
	dir := f.baselines
	if dir == "" {
		found, err := bench.FindBaselines(".")
		if err != nil && len(f.baseline) == 0 {
			return nil, []bench.Missing{{Name: "every baseline", Why: "their programs are in the source of quicpeer, which the working directory is not in; --baselines names their folder"}}, nil
		}
		if err != nil {
			return nil, nil, usagef("--baseline: the folder of baselines is not found from the working directory; --baselines names it")
		}
		dir = found
	}
	all, err := bench.Folders(dir)
	if err != nil {
		return nil, nil, usagef("--baselines: %w", err)
	}
	chosen, err := bench.Select(all, f.baseline)
	if err != nil {
		return nil, nil, usagef("--baseline: %w", err)
	}
	if !f.quick || len(f.baseline) > 0 {
		return chosen, nil, nil
	}
	var missing []bench.Missing
	chosen = slices.DeleteFunc(chosen, func(folder bench.Folder) bool {
		if !folder.OnlyGo() {
			missing = append(missing, bench.Missing{Name: folder.Name, Why: "building it may take long, and --quick was asked for; --baseline " + folder.Name + " measures it all the same"})
		}
		return !folder.OnlyGo()
	})
	return chosen, missing, nil
}
