package lines

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// Main is the main function of a program: it runs with the process's arguments,
// and ends it.
func Main(p Program, modes map[string]Mode) {
	err := Run(context.Background(), p, modes, os.Args[1:], os.Stdin, os.Stdout)
	if err == nil {
		os.Exit(0)
	}
	fmt.Fprintf(os.Stderr, "%s: %v\n", filepath.Base(os.Args[0]), err)
	var usage Usage
	if errors.As(err, &usage) {
		os.Exit(2)
	}
	os.Exit(1)
}
