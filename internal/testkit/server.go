package testkit

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stratapg/strata/pg"
)

const (
	// startTimeout bounds a server's start, recovery included, and its stop.
	startTimeout = 3 * time.Minute
	// pollEvery is how often the start looks whether the server answers.
	pollEvery = 20 * time.Millisecond
	// serverPort is a part of the socket's name alone: each server has a directory of its own.
	serverPort = 5432
)

// Config says how a cluster is made and run.
type Config struct {
	// NoChecksums makes a cluster without data checksums; the default is with.
	NoChecksums bool
	// WALSegSizeMB is initdb's --wal-segsize in MiB; 0 means 16.
	WALSegSizeMB int
	// Settings are lines of postgresql.conf, over those that every server here gets.
	Settings map[string]string
}

// reachable are the settings without which no test could reach the server: over its socket alone.
func reachable(socketDir string) map[string]string {
	return map[string]string{
		"listen_addresses":        "",
		"unix_socket_directories": socketDir,
		"port":                    strconv.Itoa(serverPort),
		"fsync":                   "off",
	}
}

// settings are what a new cluster gets: reachable, deterministic, quick.
func (c Config) settings(socketDir string) map[string]string {
	s := reachable(socketDir)
	maps.Copy(s, map[string]string{
		"shared_buffers":                  "32MB",
		"max_connections":                 "30",
		"max_wal_size":                    "8GB",
		"checkpoint_timeout":              "1h",
		"autovacuum":                      "off",
		"max_prepared_transactions":       "10",
		"max_logical_replication_workers": "0",
		"logging_collector":               "off",
		"log_line_prefix":                 "%m [%p] ",
		"lc_messages":                     "C",
	})
	maps.Copy(s, c.Settings)
	return s
}

// Postgres is a cluster and, while it runs, its server.
type Postgres struct {
	Installation
	// Data is the data directory. The test may read it.
	Data string
	// Dir holds the data directory, the server's log and its socket; it is the servers' own.
	Dir string

	t    testing.TB
	cmd  *exec.Cmd
	done chan error // receives the end of cmd
}

// Server makes a cluster of version v with initdb, with superuser postgres, and does not start it. What is
// still running at the end of the test is stopped.
func Server(t testing.TB, v pg.Version, c Config) *Postgres {
	t.Helper()
	p := &Postgres{Installation: FindServer(t, v), Dir: ServerDir(t), t: t}
	p.Data = filepath.Join(p.Dir, "data")
	args := []string{"-D", p.Data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "-N", "--no-instructions"}
	if !c.NoChecksums {
		args = append(args, "-k")
	}
	if c.WALSegSizeMB != 0 {
		args = append(args, "--wal-segsize="+strconv.Itoa(c.WALSegSizeMB))
	}
	p.Run(filepath.Join(p.Bin, "initdb"), args...)
	p.Configure(c.settings(p.Dir))
	t.Cleanup(p.stopAtEnd)
	return p
}

// Adopt gives a server for a data directory that exists, for example one that a base backup was unpacked
// into. The directory becomes the property of the servers' user. Its configuration stays, but for what makes
// the server reachable and settings.
func Adopt(t testing.TB, v pg.Version, data string, settings map[string]string) *Postgres {
	t.Helper()
	p := &Postgres{Installation: FindServer(t, v), Dir: ServerDir(t), Data: data, t: t}
	if err := os.Chmod(data, 0o700); err != nil {
		t.Fatal(err)
	}
	Give(t, data)
	p.Configure(reachable(p.Dir))
	p.Configure(settings)
	t.Cleanup(p.stopAtEnd)
	return p
}

// Configure adds lines to postgresql.auto.conf, which outranks postgresql.conf.
func (p *Postgres) Configure(settings map[string]string) {
	p.t.Helper()
	var b bytes.Buffer
	for _, k := range slices.Sorted(maps.Keys(settings)) {
		fmt.Fprintf(&b, "%s = '%s'\n", k, strings.ReplaceAll(settings[k], "'", "''"))
	}
	name := filepath.Join(p.Data, "postgresql.auto.conf")
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		p.t.Fatal(err)
	}
	if _, err := f.Write(b.Bytes()); err != nil {
		p.t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		p.t.Fatal(err)
	}
	Give(p.t, name)
}

// Run runs a program of PostgreSQL as the servers' user and gives what it printed; its failure ends the test.
func (p *Postgres) Run(program string, args ...string) string {
	p.t.Helper()
	out, err := p.TryRun(program, args...)
	if err != nil {
		p.t.Fatalf("%s %s: %v\n%s", program, strings.Join(args, " "), err, out)
	}
	return out
}

// TryRun is Run for programs that may fail.
func (p *Postgres) TryRun(program string, args ...string) (string, error) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), startTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir = p.Dir
	cmd.Env = serverEnv(p.Dir)
	runAs(cmd, serverAccount(p.t))
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// serverEnv is a clean environment: PGDATA or LC_ALL of the machine must not reach a server.
func serverEnv(dir string) []string {
	return []string{"PATH=/usr/bin:/bin", "HOME=" + dir, "LC_ALL=C", "TZ=UTC", "PGHOST=" + dir,
		"PGPORT=" + strconv.Itoa(serverPort), "PGUSER=postgres", "PGDATABASE=postgres"}
}

// Start starts the server and waits until it answers.
func (p *Postgres) Start() {
	p.t.Helper()
	if err := p.TryStart(); err != nil {
		p.t.Fatal(err)
	}
}

// TryStart is Start for servers that may refuse; the error holds the end of the server's log.
func (p *Postgres) TryStart() error {
	p.t.Helper()
	p.launch()
	return p.await(func() bool {
		ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
		defer cancel()
		s, err := p.connect(ctx, "postgres")
		if err != nil {
			return false
		}
		_ = s.Close(ctx)
		return true
	})
}

// launch starts the server's process.
func (p *Postgres) launch() {
	p.t.Helper()
	if p.cmd != nil {
		p.t.Fatal("the server runs already")
	}
	log, err := os.OpenFile(p.LogName(), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		p.t.Fatal(err)
	}
	defer log.Close()
	cmd := exec.Command(filepath.Join(p.Bin, "postgres"), "-D", p.Data)
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = p.Dir, serverEnv(p.Dir), log, log
	runAs(cmd, serverAccount(p.t))
	if err := cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	p.cmd, p.done = cmd, make(chan error, 1)
	go func(done chan<- error) { done <- cmd.Wait() }(p.done)
}

// await waits until ready holds, and fails when the server ends before.
func (p *Postgres) await(ready func() bool) error {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	late := time.NewTimer(startTimeout)
	defer late.Stop()
	for {
		select {
		case err := <-p.done:
			p.cmd = nil
			return fmt.Errorf("the server ended at its start: %v\n%s", err, p.LogTail())
		case <-late.C:
			return fmt.Errorf("the server did not answer within %s\n%s", startTimeout, p.LogTail())
		case <-tick.C:
			if ready() {
				return nil
			}
		}
	}
}

// LogName is the file that the server's messages go to.
func (p *Postgres) LogName() string { return filepath.Join(p.Dir, "log") }

// Log gives the server's messages so far.
func (p *Postgres) Log() string {
	b, _ := os.ReadFile(p.LogName())
	return string(b)
}

// LogTail gives the last lines of the log, for messages.
func (p *Postgres) LogTail() string {
	const tail = 3000
	s := p.Log()
	return s[max(0, len(s)-tail):]
}

// Stop ends the server as `pg_ctl stop -m fast`: sessions are ended and a shutdown checkpoint is written.
func (p *Postgres) Stop() { p.t.Helper(); p.end(syscall.SIGINT) }

// StopImmediately ends the server as `pg_ctl stop -m immediate`: without a checkpoint.
func (p *Postgres) StopImmediately() { p.t.Helper(); p.end(syscall.SIGQUIT) }

func (p *Postgres) end(s syscall.Signal) {
	p.t.Helper()
	if p.cmd == nil {
		return
	}
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatal(err)
	}
	select {
	case err := <-p.done:
		p.cmd = nil
		if err != nil && s == syscall.SIGINT {
			p.t.Fatalf("the server's stop: %v\n%s", err, p.LogTail())
		}
	case <-time.After(startTimeout):
		_ = p.cmd.Process.Kill()
		p.t.Fatalf("the server did not stop within %s\n%s", startTimeout, p.LogTail())
	}
}

// Kill ends the server and all its processes with SIGKILL.
func (p *Postgres) Kill() {
	p.t.Helper()
	if p.cmd == nil {
		return
	}
	children := childrenOf(p.cmd.Process.Pid)
	_ = p.cmd.Process.Kill()
	<-p.done
	p.cmd = nil
	for _, pid := range children {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	// The processes are init's children now. A server started while one of them is left refuses.
	for deadline := time.Now().Add(startTimeout); time.Now().Before(deadline); {
		children = slices.DeleteFunc(children, func(pid int) bool { return !isRunning(pid) })
		if len(children) == 0 {
			return
		}
		<-time.After(pollEvery)
	}
	p.t.Fatalf("processes %v of the killed server are still there", children)
}

// childrenOf lists a process's children, where the system tells.
func childrenOf(pid int) []int {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	var pids []int
	for _, f := range strings.Fields(string(b)) {
		if n, err := strconv.Atoi(f); err == nil {
			pids = append(pids, n)
		}
	}
	return pids
}

// isRunning reports whether a process is there and no zombie.
func isRunning(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	i := bytes.LastIndexByte(b, ')')
	return i < 0 || i+2 >= len(b) || b[i+2] != 'Z'
}

// stopAtEnd is the cleanup: nothing of what runs is wanted any more.
func (p *Postgres) stopAtEnd() {
	if p.cmd == nil {
		return
	}
	if p.t.Failed() {
		p.t.Logf("the server's log ends:\n%s", p.LogTail())
	}
	_ = p.cmd.Process.Signal(syscall.SIGQUIT)
	select {
	case <-p.done:
	case <-time.After(startTimeout):
		_ = p.cmd.Process.Kill()
		<-p.done
	}
	p.cmd = nil
}

// ConnString gives the connection string of a database, for libpq and pgx alike.
func (p *Postgres) ConnString(database string) string {
	return fmt.Sprintf("host=%s port=%d user=postgres dbname=%s sslmode=disable", p.Dir, serverPort, database)
}
