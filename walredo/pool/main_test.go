package pool

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/stratapg/strata/pg"
	"github.com/stratapg/strata/walredo"
	"github.com/stratapg/strata/walredo/native"
	"github.com/stratapg/strata/walredo/worker"
)

// asWorker makes this test binary a worker that behaves as the next argument says.
const asWorker = "redo-worker-for-tests"

func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == asWorker {
		n, _ := strconv.Atoi(os.Args[3])
		if err := behave(os.Args[2], n); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// testKind is what the requests of the fixture need.
var testKind = walredo.Kind{Version: pg.V14, Flavour: pg.Neon}

// behave serves well, but for the one thing.
func behave(how string, n int) error {
	o := worker.Options{Kind: testKind, Redoer: native.New(), ReportFailures: true}
	var in io.Reader = os.Stdin
	var out io.Writer = os.Stdout
	switch how {
	case "well":
	case "exits-on-failure":
		o.ReportFailures = false
	case "slow":
		o.Redoer = before{o.Redoer, func(int) { time.Sleep(time.Duration(n) * time.Millisecond) }}
	case "dies":
		o.Redoer = before{o.Redoer, dieAt(n, func() { fmt.Fprintln(os.Stderr, "I die now"); os.Exit(3) })}
	case "killed":
		o.Redoer = before{o.Redoer, dieAt(n, func() { _ = syscall.Kill(os.Getpid(), syscall.SIGKILL) })}
	case "stops":
		o.Redoer = before{o.Redoer, dieAt(n, func() { _ = syscall.Kill(os.Getpid(), syscall.SIGSTOP); time.Sleep(time.Hour) })}
	case "floods":
		go func() {
			for {
				_, _ = os.Stderr.WriteString("all is well, and I say so at length\n" + string(make([]byte, 5000)))
			}
		}()
	case "crumbles":
		out = crumbling{out}
	case "garbles":
		out = &garbling{Writer: out, after: n}
	case "zeros":
		out = zeros{out}
	case "chatters":
		out = &chattering{Writer: out, after: n}
	case "answers-early":
		return answerEarly()
	case "mute":
		select {}
	case "refuses":
		return fmt.Errorf("no data directory")
	case "echoes":
		_, err := io.Copy(os.Stdout, os.Stdin)
		return err
	case "leaves-child":
		c := exec.Command("/bin/sleep", "1000")
		c.Stdout, c.Stderr = os.Stdout, os.Stderr
		if err := c.Start(); err != nil {
			return err
		}
	case "deserts-child":
		c := exec.Command("/bin/sleep", "3")
		c.Stdout, c.Stderr = os.Stdout, os.Stderr
		c.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		if err := c.Start(); err != nil {
			return err
		}
	default:
		return fmt.Errorf("unknown behaviour %q", how)
	}
	return worker.Serve(context.Background(), in, out, o)
}

// answerEarly answers before it has read the question, again and again, as only a madman does.
func answerEarly() error {
	_, _ = io.ReadFull(os.Stdin, make([]byte, 5))
	_, _ = os.Stdout.Write(make([]byte, pg.BlockSize))
	_, _ = io.ReadFull(os.Stdin, make([]byte, 1))
	for {
		if _, err := os.Stdout.Write(make([]byte, pg.BlockSize)); err != nil {
			return err
		}
	}
}

// before calls a function with the number of the request.
type before struct {
	walredo.Redoer
	fn func(n int)
}

var served int

func (b before) Redo(ctx context.Context, dst []byte, req *walredo.Request) ([]byte, error) {
	served++
	b.fn(served)
	return b.Redoer.Redo(ctx, dst, req)
}

func dieAt(n int, die func()) func(int) {
	return func(i int) {
		if i == n {
			die()
		}
	}
}

// crumbling writes in small pieces.
type crumbling struct{ io.Writer }

func (c crumbling) Write(b []byte) (int, error) {
	for n := 0; n < len(b); {
		k := min(1+rand.IntN(3000), len(b)-n)
		if _, err := c.Writer.Write(b[n : n+k]); err != nil {
			return n, err
		}
		n += k
	}
	return len(b), nil
}

// garbling writes noise after some good pages.
type garbling struct {
	io.Writer
	after int
}

func (g *garbling) Write(b []byte) (int, error) {
	if g.after -= len(b) / pg.BlockSize; g.after < 0 {
		b = bytes.Clone(b)
		for i := 0; i+8 <= len(b); i += 8 {
			binary.LittleEndian.PutUint64(b[i:], rand.Uint64())
		}
	}
	return g.Writer.Write(b)
}

type zeros struct{ io.Writer }

func (z zeros) Write(b []byte) (int, error) { return z.Writer.Write(make([]byte, len(b))) }

// chattering writes a page too much after some.
type chattering struct {
	io.Writer
	after int
}

func (c *chattering) Write(b []byte) (int, error) {
	n, err := c.Writer.Write(b)
	if c.after -= len(b) / pg.BlockSize; c.after < 0 && err == nil {
		_, err = c.Writer.Write(make([]byte, 100))
	}
	return n, err
}

// behaving gives a worker that behaves so.
func behaving(how string, n int) Worker { return changing(func() (string, int) { return how, n }) }

// changing gives a worker whose processes behave as fn says at each launch.
func changing(fn func() (string, int)) Worker {
	exe, err := os.Executable()
	if err != nil {
		panic(err)
	}
	return Worker{
		Command: func(walredo.Kind) (Command, error) {
			how, n := fn()
			return Command{Path: exe, Args: []string{asWorker, how, strconv.Itoa(n)}}, nil
		},
	}
}
