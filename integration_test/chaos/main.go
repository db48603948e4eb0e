// Command chaos has several processes with several endpoints each dial, open,
// send, signal, close, abort and shut down at random, while it kills, stops and
// restarts them, and checks from all their logs that what the library promises
// was kept.
//
//	go run ./integration_test/chaos --for 2m
//
// Time is cut into rounds, each with fresh processes and a seed of its own: the
// first has --seed, the next one more, and so on. The seed decides, whatever
// the timing, all that is planned: who dials whom and when, what both sides of
// each session do, which process is killed, stopped or restarted when, for how
// long, with which keys, and how much of its packets get lost. A round whose
// promises were broken is played again with the command that is printed. What is
// not replayed is the scheduling of the machine, and with it which packets cross:
// a rare race may need several tries.
//
// The logs of a round are removed once it is checked, unless a promise is
// broken, the round could not be played, or with --keep; --dir says where they
// are meanwhile. The processes end by themselves when this one does, however it
// ends. An interrupt ends the round, and the summary is of those before it.
//
// A promise is checked only where the logs prove something. If the process that
// would have to bear witness was killed too soon, or got no processor, it is
// excused, and the summary says how often that was.
//
// With --soak it is something else: a steady load for as long as --for says,
// with sessions and links that come and go, and peers that are killed or leave,
// while goroutines, files, memory and counts are watched in two processes that
// live through all of it. At the end all of them have to be where they were, and
// the counts to add up.
//
//	go run ./integration_test/chaos --soak --for 3m
//
// The exit status is 1 if a promise was broken, 2 if a round could not be
// played.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"time"
)

func main() {
	switch os.Getenv(marker) {
	case asMember:
		os.Exit(memberMain(os.Stdin))
	case asSpoke:
		os.Exit(spokeMain(os.Stdin, os.Stdout))
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	err := run(ctx, os.Args[1:])
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
		return
	case errors.Is(err, errBroken):
		fmt.Fprintln(os.Stderr, "chaos:", err)
		os.Exit(1)
	}
	fmt.Fprintln(os.Stderr, "chaos:", err)
	os.Exit(2)
}

var errBroken = errors.New("promises were broken")

// longRound is the shortest round in which a process can be stopped for longer
// than a link lasts, and its peers be seen to notice.
const longRound = 60 * time.Second

// maxEndpoints bounds what one machine is asked for.
const maxEndpoints = 256

func run(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("chaos", flag.ContinueOnError)
	whole := flags.Duration("for", 2*time.Minute, "how long: rounds begin until then; at least one is played")
	seed := flags.Uint64("seed", 0, "of the first round; 0: drawn")
	rounds := flags.Int("rounds", 0, "end after so many rounds; 0: by time alone")
	length := flags.Duration("round", 75*time.Second, "how long things happen in a round; with 1m or more, stops outlast links")
	processes := flags.Int("processes", 4, "how many processes; soak: besides the hub")
	endpoints := flags.Int("endpoints", 3, "how many endpoints each process has")
	pace := flags.Duration("pace", 500*time.Millisecond, "mean time between the dials of an endpoint")
	loss := flags.Float64("loss", 0.05, "how much of their packets some processes lose at most; they also repeat and delay some")
	keep := flags.Bool("keep", false, "keep all logs")
	soak := flags.Bool("soak", false, "a steady load instead, and whether everything stays flat")
	rate := flags.Float64("rate", 2000, "soak: messages a second that the hub's sessions send, and get back; those of each other process send a tenth")
	dir := flags.String("dir", os.TempDir(), "where the `folder` for the logs is made")
	if err := flags.Parse(args); err != nil {
		return err
	}
	switch {
	case flags.NArg() > 0:
		return fmt.Errorf("%q is no flag, and nothing else is expected", flags.Arg(0))
	case *processes < 1 || *endpoints < 1 || *processes > maxEndpoints || *endpoints > maxEndpoints || *processes**endpoints < 2 || *processes**endpoints > maxEndpoints:
		return fmt.Errorf("%d processes with %d endpoints each: want 2 to %d endpoints", *processes, *endpoints, maxEndpoints)
	case !(*loss >= 0 && *loss <= 0.3): // nor NaN
		return fmt.Errorf("a loss of %v: want 0 to 0.3", *loss)
	case *length < time.Second || *pace < time.Millisecond:
		return fmt.Errorf("a round of %v with a dial each %v: want at least 1s and 1ms", *length, *pace)
	case *rounds < 0:
		return fmt.Errorf("%d rounds: want a number above 0, or 0 for no limit", *rounds)
	case *soak && *whole < shortestSoak:
		return fmt.Errorf("a soak of %v: want at least %v, of which the beginning does not count", *whole, shortestSoak)
	case !(*rate >= 1 && *rate <= maxRate):
		return fmt.Errorf("a rate of %v: want 1 to %v messages a second", *rate, maxRate)
	}
	if *seed == 0 {
		*seed = rand.Uint64N(1 << 48)
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	base, err := os.MkdirTemp(*dir, "chaos-")
	if err != nil {
		return err
	}
	defer os.Remove(base) // only if it is empty

	if *soak {
		return (&soaking{self: self, dir: base, length: *whole, rate: *rate, spokes: *processes}).run(ctx)
	}
	began, total := time.Now(), newVerdict()
	broken, played := 0, 0
	var failure error
	for ; played == 0 || time.Since(began) < *whole && (*rounds == 0 || played < *rounds); played++ {
		s := shape{Seed: *seed + uint64(played), Round: *length, Processes: *processes, Endpoints: *endpoints, Pace: *pace, Long: *length >= longRound, Loss: *loss}
		v, err := playRound(ctx, self, filepath.Join(base, fmt.Sprint(s.Seed)), s, *keep)
		if err != nil {
			failure = err // the rounds before it were played all the same
			break
		}
		total.add(v)
		broken += len(v.Breaches)
		fmt.Printf("round %d, seed %d, %v: %s\n", played+1, s.Seed, time.Since(began).Round(time.Second), v.line())
	}
	if played > 0 {
		fmt.Print("\n", total.summary(played, *processes, *endpoints))
	}
	if broken > 0 {
		failure = errors.Join(fmt.Errorf("%w: %d times, logs in %s", errBroken, broken, base), failure)
	}
	return failure
}

// playRound plays one round in a folder, and judges it.
func playRound(ctx context.Context, self, dir string, s shape, keep bool) (*verdict, error) {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	remove := !keep
	defer func() {
		if remove {
			_ = os.RemoveAll(dir)
		}
	}()
	r := &round{shape: s, self: self, dir: dir}
	if err := r.play(ctx); err != nil {
		if ctx.Err() != nil { // interrupted
			return nil, fmt.Errorf("seed %d: %w", s.Seed, err)
		}
		remove = false
		return nil, fmt.Errorf("seed %d, logs in %s: %w", s.Seed, dir, err)
	}
	v, err := judgeLogs(dir)
	if err != nil {
		remove = false
		return nil, err
	}
	if len(v.Breaches) > 0 {
		remove = false
		report(os.Stdout, dir, s, v.Breaches)
	}
	return v, nil
}

// judgeLogs checks the logs in a folder.
func judgeLogs(dir string) (*verdict, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.log"))
	if err != nil || len(files) == 0 {
		return nil, fmt.Errorf("no logs in %s (%v)", dir, err)
	}
	logs := make([][]event, len(files))
	for i, file := range files {
		if err := readEvents(file, func(e event) { logs[i] = append(logs[i], e) }); err != nil {
			return nil, err
		}
	}
	return check(newHistory(logs...)), nil
}
