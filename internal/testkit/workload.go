package testkit

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"

	"golang.org/x/sync/errgroup"

	"github.com/stratapg/strata/pg"
)

// Work says what a workload does. It uses btree indexes only.
type Work struct {
	// Transactions of each client, as pgbench's; 0 means 500.
	Transactions int
	// Clients is the number of concurrent sessions of these; 0 means 3.
	Clients int
	// Seed makes the transactions' choices.
	Seed uint64
	// NoTablespace leaves out tablespaces other than the default.
	NoTablespace bool
	// LeaveOpen ends with transactions in flight, one of them prepared (as "left").
	LeaveOpen bool
}

const (
	defaultTransactions = 500
	defaultClients      = 3
	accounts            = 10_000
	tellers             = 10
	branches            = 2
)

// Workload has the running server do some of everything that writes WAL, as far as relations, btree indexes
// and transactions go: pgbench's transactions; inserts of every kind, HOT chains, deletes, VACUUM and
// freeze, COPY, TOAST; splits, deduplication, deletion and reuse of btree pages; sequences, savepoints, row
// locks of two sessions (multixacts), prepared transactions; truncation; tables, databases and tablespaces
// that come and go; a backup, a change of full_page_writes, a catalog rewritten under logical decoding.
func (p *Postgres) Workload(w Work) {
	p.t.Helper()
	if w.Transactions == 0 {
		w.Transactions = defaultTransactions
	}
	if w.Clients == 0 {
		w.Clients = defaultClients
	}
	s := p.Connect("postgres")
	p.bench(s, w)
	heapWork(s)
	p.copyWork(s)
	p.lockWork(s)
	btreeWork(s)
	p.serverWork(s)
	transactionWork(s)
	p.definitionWork(s, w)
	p.bench(s, w)
	s.Each("checkpoint", "vacuum", "analyze")
	w.Seed++
	p.bench(s, w)
	if w.LeaveOpen {
		p.leaveOpen(s)
	}
}

// bench makes pgbench's tables if they are not there, and runs its transactions.
func (p *Postgres) bench(s *Session, w Work) {
	p.t.Helper()
	if s.Value("select to_regclass('pgbench_accounts')") == "" {
		s.Each(
			"create table pgbench_branches(bid int primary key, bbalance int, filler char(88)) with (fillfactor = 100)",
			"create table pgbench_tellers(tid int primary key, bid int, tbalance int, filler char(84)) with (fillfactor = 100)",
			"create table pgbench_accounts(aid int primary key, bid int, abalance int, filler char(84)) with (fillfactor = 100)",
			"create table pgbench_history(tid int, bid int, aid int, delta int, mtime timestamp, filler char(22))",
			fmt.Sprintf("insert into pgbench_branches select g, 0 from generate_series(1, %d) g", branches),
			fmt.Sprintf("insert into pgbench_tellers select g, g %% %d + 1, 0 from generate_series(1, %d) g", branches, tellers),
			fmt.Sprintf("insert into pgbench_accounts select g, g %% %d + 1, 0, '' from generate_series(1, %d) g", branches, accounts),
			"vacuum analyze pgbench_accounts",
		)
	}
	var g errgroup.Group
	for client := range w.Clients {
		session := p.Connect("postgres")
		g.Go(func() error {
			defer session.Close()
			rnd := rand.New(rand.NewPCG(w.Seed, uint64(client)))
			for range w.Transactions {
				if _, err := session.Try(benchTransaction(rnd)); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		p.t.Fatal(err)
	}
}

// benchTransaction is pgbench's "TPC-B (sort of)" script.
func benchTransaction(rnd *rand.Rand) string {
	const maxDelta = 5000
	aid, bid, tid := rnd.IntN(accounts)+1, rnd.IntN(branches)+1, rnd.IntN(tellers)+1
	delta := rnd.IntN(2*maxDelta+1) - maxDelta
	return fmt.Sprintf(`begin;
update pgbench_accounts set abalance = abalance + %[1]d where aid = %[2]d;
select abalance from pgbench_accounts where aid = %[2]d;
update pgbench_tellers set tbalance = tbalance + %[1]d where tid = %[3]d;
update pgbench_branches set bbalance = bbalance + %[1]d where bid = %[4]d;
insert into pgbench_history (tid, bid, aid, delta, mtime) values (%[3]d, %[4]d, %[2]d, %[1]d, current_timestamp);
end`, delta, aid, tid, bid)
}

// copyWork loads rows by COPY: into a table with an index, and with FREEZE into one of the same transaction.
func (p *Postgres) copyWork(s *Session) {
	p.t.Helper()
	const rows = 4000
	name := filepath.Join(p.Dir, "rows.txt")
	f, err := os.Create(name)
	if err != nil {
		p.t.Fatal(err)
	}
	for i := range rows {
		fmt.Fprintf(f, "%d\trow number %d\n", i, i)
	}
	if err := f.Close(); err != nil {
		p.t.Fatal(err)
	}
	s.Exec("create table copied(a int primary key, b text)")
	s.copyFrom(name, "copy copied from stdin")
	s.Exec("begin; create table copied_frozen(a int, b text)")
	s.copyFrom(name, "copy copied_frozen from stdin with (freeze)")
	s.Each("commit", "delete from copied where a % 3 = 0", "vacuum copied", "vacuum copied_frozen")
	s.copyFrom(name, "copy copied_frozen from stdin")
}

func (s *Session) copyFrom(name, sql string) {
	s.t.Helper()
	f, err := os.Open(name)
	if err != nil {
		s.t.Fatal(err)
	}
	defer f.Close()
	ctx, cancel := context.WithTimeout(context.Background(), queryTimeout)
	defer cancel()
	if _, err := s.conn.CopyFrom(ctx, f, sql); err != nil {
		s.t.Fatalf("%v, in: %s", err, sql)
	}
}

// leaveOpen ends with two open transactions and a prepared one.
func (p *Postgres) leaveOpen(s *Session) {
	p.t.Helper()
	s.Each("create table if not exists unfinished(a int primary key, b text)",
		"insert into unfinished select g, 'committed' from generate_series(1, 100) g on conflict do nothing")
	s.Exec("begin; insert into unfinished select g, 'prepared' from generate_series(1001, 1300) g; " +
		"update unfinished set b = 'prepared' where a = 1; prepare transaction 'left'")
	for i := 2; i <= 3; i++ {
		p.Connect("postgres").Exec(fmt.Sprintf("begin; savepoint x; insert into unfinished select g, 'open' from generate_series(%d001, %d400) g; "+
			"update unfinished set b = 'open' where a = %d; create table open_%d(a int); insert into open_%d values (1)", i, i, i, i, i))
	}
	// Something committed behind them, so that their records are flushed.
	s.Exec("insert into unfinished values (0, 'last')")
}

// has reports whether the server's version is at least v.
func (p *Postgres) has(v pg.Version) bool { return p.Version >= v }
