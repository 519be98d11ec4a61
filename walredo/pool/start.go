package pool

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"sync"

	"github.com/stratapg/strata/internal/tasks"
)

// starter starts all processes of a pool on one thread that lives as long as the pool: the kernel's
// promise to kill a child when its parent dies is about the thread that made it.
type starter struct {
	tasks *tasks.Group
	once  sync.Once
	jobs  chan func()
	err   error
}

func (s *starter) init(g *tasks.Group) { s.tasks, s.jobs = g, make(chan func()) }

// start starts cmd on the thread.
func (s *starter) start(cmd *exec.Cmd) error {
	s.once.Do(func() {
		s.err = s.tasks.Go(func(ctx context.Context) {
			runtime.LockOSThread() // and never unlocked: the thread ends with this goroutine
			for {
				select {
				case <-ctx.Done():
					return
				case job := <-s.jobs:
					job()
				}
			}
		})
	})
	if s.err != nil {
		return ErrClosed
	}
	done := make(chan error, 1)
	select {
	case s.jobs <- func() { done <- cmd.Start() }:
		return <-done
	case <-s.tasks.Done():
		return ErrClosed
	}
}

// start starts a process with its goroutines. The caller has to end it.
func (g *group) start() (*process, error) {
	c, err := g.pool.o.Worker.Command(g.kind)
	if err != nil {
		return nil, fmt.Errorf("no command for %s: %w", g.kind, err)
	}
	cmd := exec.Command(c.Path, c.Args...)
	// Never looked up, and never nil, which would mean all of ours.
	cmd.Path, cmd.Err = c.Path, nil
	cmd.Env = append([]string{}, c.Env...)
	cmd.Dir = c.Dir
	if cmd.Dir == "" {
		cmd.Dir = "/"
	}
	cmd.SysProcAttr = attributes(c.User)

	p := &process{group: g, dead: make(chan struct{}), gone: make(chan struct{}), leader: make(chan struct{}, 1)}
	p.leader <- struct{}{}
	theirs, err := p.pipes()
	if err != nil {
		return nil, err
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = theirs[0], theirs[1], theirs[2]
	err = g.pool.starter.start(cmd)
	for _, f := range theirs {
		_ = f.Close()
	}
	if err != nil {
		p.closePipes()
		return nil, err
	}
	p.os, p.pid = cmd.Process, cmd.Process.Pid
	g.pool.metrics.launches.Add(1)
	g.pool.metrics.processes.Add(1)
	g.pool.o.Logger.Info("redo process started", "pid", p.pid, "kind", g.kind.String(), "command", c.Path)
	p.w.init()
	p.initReader()
	p.wg.Go(p.reap)
	p.wg.Go(p.readAnswers)
	p.wg.Go(p.writeRest)
	p.wg.Go(p.readErrors)
	return p, nil
}

// pipes makes the three pipes and gives the child's ends.
func (p *process) pipes() (theirs [3]*os.File, err error) {
	var inErr, outErr, errErr error
	theirs[0], p.in, inErr = os.Pipe()
	p.out, theirs[1], outErr = os.Pipe()
	p.errs, theirs[2], errErr = os.Pipe()
	err = errors.Join(inErr, outErr, errErr)
	if err == nil {
		p.inRaw, inErr = p.in.SyscallConn()
		p.outRaw, outErr = p.out.SyscallConn()
		err = errors.Join(inErr, outErr)
	}
	if err != nil {
		p.closePipes()
		for _, f := range theirs {
			if f != nil {
				_ = f.Close()
			}
		}
		return theirs, fmt.Errorf("making pipes: %w", err)
	}
	widen(p.inRaw)
	widen(p.outRaw)
	return theirs, nil
}

func (p *process) closePipes() {
	for _, f := range []*os.File{p.in, p.out, p.errs} {
		if f != nil {
			_ = f.Close()
		}
	}
}
