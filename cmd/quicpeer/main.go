// Command quicpeer is a peer to try the library with: a demo that needs no
// configuration, an interactive peer, a benchmark, and a tool for identities.
//
//	quicpeer demo       two peers dial each other from the ports they listen on
//	quicpeer run        talk to other peers, line by line
//	quicpeer bench      measure it beside plain UDP and other QUIC stacks
//	quicpeer id         create or show this machine's identity
//	quicpeer version    what this binary was built from
//
// Every command explains itself with --help. The exit status is 0 if all went
// well, 1 if something failed, 2 if the command line is wrong, and 130 if it
// was interrupted.
package main

import "os"

func main() {
	os.Exit(execute(os.Args[1:], stdio{os.Stdin, os.Stdout, os.Stderr}))
}
