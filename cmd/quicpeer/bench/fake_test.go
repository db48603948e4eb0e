package bench

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// fakeSubject is a subject whose program behaves in some way.
func fakeSubject(t *testing.T, name, behavior string) Subject {
	t.Helper()
	exe, err := os.Executable()
	require.NoError(t, err)
	return Subject{Name: name, Label: labelOf(name), Command: []string{exe, fakeProgram, behavior}, Flood: "flood", Can: Measures}
}

// fake is a program of a benchmark. It keeps to the rules (behavior "good:N", where
// N is its speed), or breaks one of them. Behaviors of its client side begin with
// "client-".
func fake(behavior string, args []string) error {
	in := bufio.NewScanner(os.Stdin)
	name, argument, _ := strings.Cut(behavior, ":")
	serves := len(args) > 0 && args[0] == "serve"
	if !strings.HasPrefix(name, "client-") || !serves {
		switch name {
		case "crash", "client-crash":
			return errors.New("out of luck")
		case "hang", "client-hang":
			return hold(argument)
		case "parent":
			return startAnother(argument)
		case "garbage", "client-garbage":
			fmt.Println("hello world")
		case "endless":
			fmt.Print(strings.Repeat("x", 2*maxLine))
		case "elsewhere":
			fmt.Println("listening 192.0.2.1:9")
		case "stubborn":
			fmt.Println("listening 127.0.0.1:9")
			select {}
		}
	}
	speed, err := strconv.ParseFloat(argument, 64)
	if err != nil {
		speed = 1
	}
	switch {
	case serves:
		return fakeServe(name, in, speed)
	case len(args) < 2 || args[1] != "127.0.0.1:9":
		return fmt.Errorf("what is %q", args)
	}
	return fakeClient(args[0], args[2:], in, speed)
}

// fakeServe counts a tenth of a second between any two questions, until one
// message is lost and the flood is over.
func fakeServe(name string, in *bufio.Scanner, speed float64) error {
	fmt.Println("listening 127.0.0.1:9")
	counted, memory := 0, 1_000_000
	for in.Scan() {
		switch in.Text() {
		case "count":
			if name == "crash-counting" {
				return errors.New("cannot count")
			}
			bytes := int(float64(64*min(counted, 3)*1000) * speed)
			fmt.Printf("count %d %d %d\n", min(counted, 3), bytes, 100_000_000*counted)
			counted++
		case "memory":
			fmt.Printf("memory %d\n", memory)
			memory += 200_000
		}
	}
	return nil
}

func fakeClient(mode string, args []string, in *bufio.Scanner, speed float64) error {
	last, _ := strconv.Atoi(args[len(args)-1])
	await := func(want string) error {
		if !in.Scan() || in.Text() != want {
			return fmt.Errorf("want %q", want)
		}
		return nil
	}
	switch mode {
	case "idle", "links":
		fmt.Println("memory 1000000")
		if err := await("go"); err != nil {
			return err
		}
		fmt.Println("memory 1400000")
	case "flood":
		fmt.Println("ready 1200")
		if err := errors.Join(await("go"), await("stop")); err != nil {
			return err
		}
		fmt.Printf("sent 4 %d\n", int(64*4*1000*speed))
	default:
		fmt.Println("ready 1200")
		if err := await("go"); err != nil {
			return err
		}
		fakeTimes(mode, last, speed)
	}
	for in.Scan() {
	}
	return nil
}

func fakeTimes(mode string, n int, speed float64) {
	ns := func(i int) int { return int(1e6 / speed * float64(i+1) / float64(n)) }
	switch mode {
	case "opens":
		fmt.Printf("opened %d %d\n", n, 1_000_000_000)
		return
	case "ping":
		fmt.Println("rtt lost")
		for i := range n - 1 {
			fmt.Printf("rtt %d\n", ns(i))
		}
	case "busy":
		for i := range n {
			fmt.Printf("ping %d\nsignal %d\nother 1\n", ns(i), 2*ns(i))
		}
	case "open":
		for i := range n {
			fmt.Printf("open %d\n", ns(i))
		}
	}
	fmt.Println("done")
}

// hold keeps a file open, whatever happens to its input, until it is killed.
func hold(file string) error {
	if file != "" {
		f, err := os.OpenFile(file, os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		defer f.Close()
		fmt.Fprintln(f, "here")
		select {}
	}
	select {}
}

// startAnother starts a process that holds a file open, and is silent then.
func startAnother(file string) error {
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	if err := exec.Command(exe, fakeProgram, "hang:"+file).Start(); err != nil {
		return err
	}
	select {}
}
