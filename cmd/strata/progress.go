package main

import (
	"fmt"
	"io"
	"sync"
	"time"
)

// progressEvery is how often long work says how far it is.
const progressEvery = time.Second

// progress prints at most one line a second to stderr. It may be called from many goroutines.
type progress struct {
	w     io.Writer
	start time.Time
	mu    sync.Mutex
	last  time.Time
}

func newProgress(w io.Writer) *progress {
	now := time.Now()
	return &progress{w: w, start: now, last: now}
}

// say prints the line that describe gives, if it is time for one. done and total are bytes; total 0 means
// that the end is not known.
func (p *progress) say(what string, done, total int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	if now.Sub(p.last) < progressEvery {
		return
	}
	p.last = now
	rate := float64(done) / (1 << 20) / now.Sub(p.start).Seconds()
	if total > 0 {
		fmt.Fprintf(p.w, "%s, %d MiB of %d MiB (%.0f %%), %.0f MiB/s\n", what, done>>20, total>>20, 100*float64(done)/float64(total), rate)
		return
	}
	fmt.Fprintf(p.w, "%s, %d MiB, %.0f MiB/s\n", what, done>>20, rate)
}
