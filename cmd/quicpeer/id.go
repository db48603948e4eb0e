package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	"github.com/oneportnet/quicpeer/certs"
)

type idFlags struct {
	identity         string
	json, new, force bool
}

func newID(std stdio) *cobra.Command {
	var f idFlags
	c := &cobra.Command{
		Use:   "id",
		Short: "Create or show this machine's identity",
		Long: `Create or show this machine's identity.

The identity is a private key in a file that only you can read. Its id, the
fingerprint of the key, is what other peers need to know: they trust it with
--trust ID, or pin it when they dial, with --dial ADDRESS#ID.

If the file does not exist, it is created. The id goes to standard output,
where it is kept to standard error.`,
		Example: `  quicpeer id                       show the id, create the key if there is none
  quicpeer id --identity bob.pem    another file
  quicpeer id --new --force         replace the key: the old id is gone for good
  quicpeer id --json | jq -r .id    for scripts`,
		Args: noArgs,
		RunE: func(*cobra.Command, []string) error { return showID(std, f) },
	}
	c.Flags().StringVar(&f.identity, "identity", "", "the key `FILE` (default "+configDisplay(identityFile)+")")
	c.Flags().BoolVar(&f.json, "json", false, "print a JSON object: id, file, created")
	c.Flags().BoolVar(&f.new, "new", false, "make a new identity; an existing file is not touched")
	c.Flags().BoolVar(&f.force, "force", false, "with --new: replace an existing file")
	return c
}

func showID(std stdio, f idFlags) error {
	if f.force && !f.new {
		return usagef("--force is for --new: it replaces an existing identity")
	}
	open := openIdentity
	if f.new {
		open = func(path string) (storedIdentity, error) { return newIdentity(path, f.force) }
	}
	id, err := open(f.identity)
	if err != nil {
		return err
	}
	if f.json {
		return json.NewEncoder(std.out).Encode(struct {
			ID      certs.PeerID `json:"id"`
			File    string       `json:"file"`
			Created bool         `json:"created"`
		}{id.ID(), id.path, id.created})
	}
	if _, err := fmt.Fprintln(std.out, id.ID()); err != nil {
		return err
	}
	_, err = fmt.Fprintf(std.err, "(%s)\n", id.where())
	return err
}

// existsError is returned instead of overwriting an identity.
type existsError struct{ path string }

func (e *existsError) Error() string {
	return fmt.Sprintf("%s exists, and --new does not overwrite an identity", e.path)
}

// newIdentity makes an identity and keeps it in a file.
func newIdentity(path string, overwrite bool) (storedIdentity, error) {
	path, err := identityPath(path)
	if err != nil {
		return storedIdentity{}, err
	}
	switch _, err := os.Lstat(path); {
	case err == nil && !overwrite:
		return storedIdentity{}, &existsError{path}
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return storedIdentity{}, err
	}
	if err := makeParent(path); err != nil {
		return storedIdentity{}, err
	}
	id, err := certs.Generate()
	if err != nil {
		return storedIdentity{}, err
	}
	if err := id.Save(path); err != nil {
		return storedIdentity{}, err
	}
	return storedIdentity{id, path, true}, nil
}
