// Command demo runs the main job on the sample and prints what it did. Exit code 0 says that every page was
// PostgreSQL's.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"

	"github.com/stratapg/strata/internal/demo"
)

func main() {
	sample := flag.String("sample", "testdata/sample", "folder of the sample")
	output := flag.String("output", "demo-out", "folder for the base backup and the picture")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *sample, *output); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, sample, output string) (err error) {
	work, err := os.MkdirTemp("", "strata-demo-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(work)) }()
	r, err := demo.Run(ctx, demo.Options{Sample: sample, Output: output, Work: work, Log: os.Stdout})
	if err != nil {
		return err
	}
	fmt.Println(r)
	if r.Different > 0 {
		return fmt.Errorf("%d pages are not PostgreSQL's", r.Different)
	}
	return nil
}
