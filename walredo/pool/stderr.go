package pool

import (
	"bytes"
	"os"
	"strings"
	"sync"
	"time"
)

const (
	// keptStderr is what errors quote of the end of a process's stderr.
	keptStderr = 2 << 10
	// maxLine is what of a line is logged.
	maxLine = 1 << 10
	// linesPerSecond of one process are logged; the others are counted.
	linesPerSecond = 20
	// drainTime is how long the rest is waited for after the process is gone, as a descendant that left its group may hold the pipe open.
	drainTime = 100 * time.Millisecond
)

// stderr keeps the end of what a process writes there.
type stderr struct {
	mu struct {
		sync.Mutex
		kept []byte
	}
	line   []byte // begun
	second time.Time
	logged int
}

// readErrors is the goroutine that reads stderr, whatever comes, so that the process never waits for it.
func (p *process) readErrors() {
	buf := make([]byte, 4<<10)
	for {
		n, err := p.errs.Read(buf)
		p.stderr.keep(buf[:n])
		p.logLines(buf[:n])
		if err != nil {
			if len(p.stderr.line) > 0 {
				p.logLine()
			}
			return
		}
	}
}

func (s *stderr) keep(b []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(b) >= keptStderr {
		s.mu.kept = append(s.mu.kept[:0], b[len(b)-keptStderr:]...)
		return
	}
	if over := len(s.mu.kept) + len(b) - keptStderr; over > 0 {
		s.mu.kept = append(s.mu.kept[:0], s.mu.kept[over:]...)
	}
	s.mu.kept = append(s.mu.kept, b...)
}

// tail gives the end of what was written, on one line.
func (s *stderr) tail() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.TrimSpace(strings.ToValidUTF8(string(s.mu.kept), "?"))
}

func (p *process) logLines(b []byte) {
	s := &p.stderr
	for len(b) > 0 {
		i := bytes.IndexByte(b, '\n')
		part := b
		if i >= 0 {
			part = b[:i]
		}
		if room := maxLine - len(s.line); room > 0 {
			s.line = append(s.line, part[:min(room, len(part))]...)
		}
		if i < 0 {
			return
		}
		p.logLine()
		b = b[i+1:]
	}
}

func (p *process) logLine() {
	s, pool := &p.stderr, p.group.pool
	pool.metrics.stderrLines.Add(1)
	if now := pool.o.Clock(); now.Sub(s.second) >= time.Second {
		s.second, s.logged = now, 0
	}
	if s.logged++; s.logged <= linesPerSecond {
		pool.o.Logger.Warn("redo process wrote", "pid", p.pid, "line", strings.ToValidUTF8(string(s.line), "?"))
	} else {
		pool.metrics.stderrDropped.Add(1)
	}
	s.line = s.line[:0]
}

// expire bounds the reading of what is left.
func (s *stderr) expire(f *os.File) { _ = f.SetReadDeadline(time.Now().Add(drainTime)) }
