// Command attack plays hostile peers against an endpoint: floods, handshakes and
// sessions that are begun and left, frames and datagrams at their limits and
// above, peers that never read or answer, strangers and peers that the victim
// trusts. It measures what that costs the victim, and what it costs others.
//
// There are three kinds of processes. The victim is an endpoint with default
// limits. Honest peers send it messages at a steady rate, open and close sessions
// all the time, and come as newcomers, each with an address of its own. The
// attacker sends real packets, over loopback, whose 127/8 gives it as many
// addresses as it likes; those it forges it does not read from.
//
// All share the machine's processors, so an attacker that takes one whole would
// slow the others down by that alone. Two things keep the comparison fair. Each
// attack has a stated rate, so many acts a second, at which the attacker leaves
// processor time over; and the honest load is a part of what is possible. Each
// round has two halves of the same length, without the attack and with it, on the
// same processes, and what is compared is the two halves. --times 10 plays the
// same at ten times the rates, to see what gives way first; nothing is promised
// then but the bounds.
//
// A run fails if a bound does not hold: an attacker that is not cut off where it
// should be, a close of an honest peer that is not confirmed, a log that is
// flooded, memory that grows too much or does not come back, or honest throughput
// of less than nine tenths; of less than a half, where less was measured than by
// default.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strings"
	"time"
)

func main() {
	switch os.Getenv(roleVariable) {
	case "victim":
		playVictim()
	case "honest":
		playHonest()
	case "attacker":
		playAttacker()
	default:
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
		defer stop()
		if err := run(ctx, os.Args[1:]); err != nil && !errors.Is(err, flag.ErrHelp) {
			fmt.Fprintln(os.Stderr, "attack:", err)
			os.Exit(1)
		}
	}
}

func run(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("attack", flag.ContinueOnError)
	only := flags.String("attacks", "", "which `attacks`, by their names, separated by commas; all if empty")
	duration := flags.Duration("for", 3*time.Second, "how long each half of a round takes")
	rounds := flags.Int("rounds", 3, "how many rounds each attack has")
	times := flags.Int("times", 1, "by how much the attackers' rates are multiplied")
	load := flags.Int("load", 40_000, "how many messages a second honest peers send")
	markdown := flags.String("markdown", "", "write the tables to this `file`")
	jsonFile := flags.String("json", "", "write all results to this `file`; those of other attacks that it has stay there")
	listOnly := flags.Bool("list", false, "show the attacks, and play none")
	if err := flags.Parse(args); err != nil {
		return err
	}
	switch {
	case flags.NArg() > 0:
		return fmt.Errorf("%q is no flag, and nothing else is expected: --attacks chooses some", flags.Arg(0))
	case *rounds < 1 || *times < 1 || *times > maxTimes:
		return fmt.Errorf("%d rounds at %d times the rates: want at least 1, and 1 to %d", *rounds, *times, maxTimes)
	case *load < steadySessions:
		return fmt.Errorf("a load of %d messages a second: want at least %d, one for each session", *load, steadySessions)
	case *duration < 100*time.Millisecond || *duration > maxHalf:
		return fmt.Errorf("halves of %v: want 100ms to %v", *duration, maxHalf)
	}
	chosen, err := choose(*only)
	if err != nil {
		return fmt.Errorf("%w; --list shows them", err)
	}
	if *listOnly {
		for _, a := range chosen {
			fmt.Printf("%-28s %s; %s: %s a second\n", a.name, a.tried, a.act, number(float64(a.rate)))
		}
		return nil
	}
	if *jsonFile != "" {
		if _, err := merge(*jsonFile, nil); err != nil { // now, not when all is played
			return err
		}
	}
	if runtime.GOOS != "linux" {
		return fmt.Errorf("attacks are played on Linux only, this is %s: it takes 127/8 and the source address of single packets", runtime.GOOS)
	}
	g, err := newGame(*duration, *rounds, *times, *load)
	if err != nil {
		return err
	}
	defer g.close()
	var results []*result
	for _, a := range chosen {
		r, err := g.attack(ctx, a)
		if err != nil {
			return fmt.Errorf("%s: %w", a.name, err)
		}
		results = append(results, r)
		fmt.Println(r.line())
	}
	g.recovering.Wait()
	for _, r := range results {
		r.conclude()
	}
	return report(results, *jsonFile, *markdown)
}

// Bounds of what can be asked for: a half longer than this would outlive its
// processes, and of higher rates no machine has the time.
const (
	maxHalf  = 5 * time.Minute
	maxTimes = 1000
)

func choose(names string) ([]attack, error) {
	if names == "" {
		return attacks(), nil
	}
	var chosen []attack
	for name := range strings.SplitSeq(names, ",") {
		a, err := find(name)
		if err != nil {
			return nil, err
		}
		chosen = append(chosen, a)
	}
	return chosen, nil
}

// report writes the results, and fails if something did not hold.
func report(results []*result, jsonFile, markdown string) error {
	var broken []string
	for _, r := range results {
		fmt.Println(r.recovery())
		for _, b := range r.Broken {
			broken = append(broken, r.Attack+": "+b)
		}
	}
	all := results
	if jsonFile != "" {
		var err error
		if all, err = merge(jsonFile, results); err != nil {
			return err
		}
		b, err := json.MarshalIndent(all, "", "  ")
		if err != nil {
			return err
		}
		if err := os.WriteFile(jsonFile, append(b, '\n'), 0o644); err != nil {
			return err
		}
	}
	if markdown != "" {
		if err := os.WriteFile(markdown, []byte(tables(all)), 0o644); err != nil {
			return err
		}
	}
	if len(broken) > 0 {
		return fmt.Errorf("%d bounds did not hold:\n%s", len(broken), strings.Join(broken, "\n"))
	}
	return nil
}

// merge puts new results in the place of old ones of the same attack and rate.
func merge(file string, results []*result) ([]*result, error) {
	b, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) {
		return results, nil
	}
	if err != nil {
		return nil, err
	}
	var all []*result
	if err := json.Unmarshal(b, &all); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	for _, r := range results {
		i := slices.IndexFunc(all, func(o *result) bool { return o.Attack == r.Attack && o.Times == r.Times })
		if i < 0 {
			all = append(all, r)
		} else {
			all[i] = r
		}
	}
	return all, nil
}
