package certs

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// writeFile replaces the file as a whole: a reader, or a crash at any moment,
// finds either the old content or the new one. A symbolic link is followed, so
// that the file it names is replaced and not the link.
func writeFile(path string, data []byte, mode fs.FileMode) (err error) {
	if target, err := filepath.EvalSymlinks(path); err == nil {
		path = target
	}
	dir := filepath.Dir(path)
	// In the same directory, because a rename is atomic only within one file
	// system. CreateTemp gives mode 0600 from the start.
	tmp, err := os.CreateTemp(dir, "."+filepath.Base(path)+".*.tmp")
	if err != nil {
		return fmt.Errorf("certs: write %s: %w", path, err)
	}
	defer func() {
		if err != nil {
			tmp.Close() // a second Close does no harm
			os.Remove(tmp.Name())
			err = fmt.Errorf("certs: write %s: %w", path, err)
		}
	}()
	if err := tmp.Chmod(mode); err != nil {
		return err
	}
	if _, err := tmp.Write(data); err != nil {
		return err
	}
	// Before the rename, or a power failure could leave the name on an empty
	// file.
	if err := tmp.Sync(); err != nil {
		return err
	}
	if err := tmp.Close(); err != nil {
		return err
	}
	if err := os.Rename(tmp.Name(), path); err != nil {
		return err
	}
	syncDir(dir)
	return nil
}
