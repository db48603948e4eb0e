package certs

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// maxLinks is how many symbolic links may follow each other, as on Linux.
const maxLinks = 40

// target returns what a path stands for: a file, or where there can be one.
func target(path string) (string, error) {
	for range maxLinks {
		info, err := os.Lstat(path)
		switch {
		case err != nil:
			return path, nil // what is wrong with it shows when it is made
		case info.Mode().IsRegular():
			return path, nil
		case info.Mode()&fs.ModeSymlink == 0:
			return "", fmt.Errorf("%s is not a file", path)
		}
		to, err := os.Readlink(path)
		if err != nil {
			return "", err
		}
		if !filepath.IsAbs(to) {
			// Of the directory's own name: with .. in it, the link's is not enough.
			dir, err := filepath.EvalSymlinks(filepath.Dir(path))
			if err != nil {
				return "", err
			}
			to = filepath.Join(dir, to)
		}
		path = to
	}
	return "", fmt.Errorf("%s has too many symbolic links", path)
}

// writeFile replaces the file as a whole: a reader, or a crash at any moment,
// finds either the old content or the new one. A symbolic link is followed, so
// that the file it names is replaced and not the link, or made. What is no file,
// such as /dev/null, stays what it is.
func writeFile(path string, data []byte, mode fs.FileMode) (err error) {
	if path, err = target(path); err != nil {
		return fmt.Errorf("certs: write: %w", err)
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
