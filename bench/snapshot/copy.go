package snapshot

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// copyAll copies files of a folder to another, and says how: by the first way that can.
func copyAll(ctx context.Context, from, to string, files []File, m Method) (Method, error) {
	ways := map[Method][]Method{"": {Reflink, Link, Copy}, Auto: {Reflink, Link, Copy}, Reflink: {Reflink}, Link: {Link}, Copy: {Copy}}[m]
	if ways == nil {
		return "", fmt.Errorf("there is no way %q to copy: auto, reflink, link and copy there are", m)
	}
	var errs []error
	for _, way := range ways {
		err := copyBy(ctx, from, to, files, way)
		if err == nil || ctx.Err() != nil {
			return way, err
		}
		errs = append(errs, fmt.Errorf("by %s: %w", way, err))
		if err := os.RemoveAll(to); err != nil {
			return "", err
		}
	}
	return "", errors.Join(errs...)
}

func copyBy(ctx context.Context, from, to string, files []File, way Method) error {
	if err := os.MkdirAll(to, 0o755); err != nil {
		return err
	}
	for _, f := range files {
		if err := ctx.Err(); err != nil {
			return err
		}
		source, target := filepath.Join(from, f.Name), filepath.Join(to, f.Name)
		if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
			return err
		}
		var err error
		switch {
		case way == Reflink:
			err = withBoth(source, target, reflink)
		case way == Link && unchanging(f.Name):
			err = os.Link(source, target)
		default:
			err = withBoth(source, target, func(target, source *os.File) error {
				_, err := io.Copy(target, source)
				return err
			})
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// withBoth opens a file, and makes another one.
func withBoth(source, target string, do func(target, source *os.File) error) error {
	s, err := os.Open(source)
	if err != nil {
		return err
	}
	defer s.Close()
	t, err := os.OpenFile(target, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	err = do(t, s)
	return errors.Join(err, t.Close())
}

func writeSynced(name string, b []byte) error {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	return errors.Join(err, f.Sync(), f.Close())
}

func syncDir(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
