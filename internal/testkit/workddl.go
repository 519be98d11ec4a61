package testkit

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/stratapg/strata/pg"
)

// transactionWork makes the records of transactions: subtransactions by the hundred, prepared ones, aborted
// ones, sequences.
func transactionWork(s *Session) {
	s.t.Helper()
	s.Each(
		"create table parts(a int primary key, b text)",
		"begin; insert into parts values (1, 'a'); savepoint x; insert into parts values (2, 'lost'); rollback to x; "+
			"savepoint y; insert into parts values (3, 'kept'); release y; commit",
		// More than 64 subtransactions are assigned to their top one in a record of its own.
		"do $$ begin for i in 10..250 loop begin insert into parts values (i, 'loop'); if i % 10 = 0 then raise exception 'x'; end if; "+
			"exception when raise_exception then null; end; end loop; end $$",
		"begin; insert into parts values (1000, 'aborted'); create table never(a int); insert into never values (1); rollback",
		"begin; insert into parts values (2000, 'prepared'); savepoint x; insert into parts values (2001, 'prepared'); "+
			"create table prepared_table(a int); prepare transaction 'one'",
		"begin; update parts set b = 'two' where a = 1; prepare transaction 'two'",
		"checkpoint",
		"commit prepared 'one'", "rollback prepared 'two'",
		"begin; delete from parts where a = 2001; drop table prepared_table; prepare transaction 'three'",
		"commit prepared 'three'",
		// Enough transactions that do nothing else for some pages of the commit log's first segment.
		"do $$ begin for i in 1..3000 loop perform txid_current(); commit; end loop; end $$",
		"create sequence numbers cache 3",
		"select count(nextval('numbers')) from generate_series(1, 400)",
		"select setval('numbers', 5000)", "alter sequence numbers increment 3", "select nextval('numbers')",
		"create table serials(id bigserial primary key, g int generated always as identity)",
		"insert into serials select from generate_series(1, 200)",
		"alter table serials alter g restart with 1000", "truncate serials restart identity", "insert into serials select from generate_series(1, 10)",
		"select pg_logical_emit_message(true, 'strata', 'in a transaction')", "select pg_logical_emit_message(false, 'strata', 'outside')",
		"select pg_create_restore_point('here')",
		"select pg_switch_wal()",
	)
}

// definitionWork makes and drops tables, indexes, databases and tablespaces, and rewrites tables and catalogs.
func (p *Postgres) definitionWork(s *Session, w Work) {
	p.t.Helper()
	s.Each(
		"create table many(a int, b text) partition by range (a)",
		"create table many_1 partition of many for values from (0) to (500)",
		"create table many_2 partition of many for values from (500) to (1000)",
		"insert into many select g % 1000, 'p' from generate_series(0, 1999) g", "update many set a = a + 480 where a < 30",
		"drop table many_2",
		"create table rewritten(a int primary key, b text)", "insert into rewritten select g, 'r' from generate_series(1, 800) g",
		"alter table rewritten alter a type bigint", "cluster rewritten using rewritten_pkey", "vacuum full rewritten",
		"create materialized view totals as select bid, sum(abalance) from pgbench_accounts group by bid", "refresh materialized view totals",
		"create type mood as enum ('a', 'b')", "alter type mood add value 'c'",
		"create table dropped(a int primary key, t text)", "insert into dropped select g, repeat('d', 3000) from generate_series(1, 50) g", "drop table dropped",
		"create index concurrently copied_b on copied(b)", "reindex table concurrently copied", "drop index concurrently copied_b",
		"begin; truncate copied; insert into copied values (1, 'x'); rollback",
		"vacuum full pg_class", "vacuum full pg_database", "reindex system postgres",
		"begin; lock table copied in access exclusive mode; commit",
		"comment on table copied is 'c'", "create role somebody", "grant select on copied to somebody",
		"alter database postgres set work_mem = '5MB'",
	)
	p.databaseWork(s)
	if !w.NoTablespace {
		p.tablespaceWork(s)
	}
}

func (p *Postgres) databaseWork(s *Session) {
	p.t.Helper()
	if p.has(pg.V15) {
		s.Each("create database logged strategy wal_log", "create database copied_db strategy file_copy")
	} else {
		s.Each("create database logged", "create database copied_db")
	}
	for _, db := range []string{"logged", "copied_db"} {
		in := p.Connect(db)
		in.Each("create table z(a int primary key, t text)", "insert into z select g, 'z' from generate_series(1, 1000) g",
			"vacuum full pg_class", "update z set t = 'Z' where a % 2 = 0", "vacuum z")
		in.Close()
	}
	s.Each("create database gone template logged", "drop database gone", "alter database logged rename to renamed")
}

// Spaces are the folders in Postgres.Dir that the workload makes tablespaces in; the second one is dropped.
var Spaces = []string{"space", "space_gone"}

func (p *Postgres) tablespaceWork(s *Session) {
	p.t.Helper()
	for _, name := range Spaces {
		dir := filepath.Join(p.Dir, name)
		if err := os.Mkdir(dir, 0o700); err != nil {
			p.t.Fatal(err)
		}
		Give(p.t, dir)
		s.Exec(fmt.Sprintf("create tablespace %s location '%s'", name, dir))
	}
	s.Each("create table spaced(a int primary key, t text) tablespace space", "insert into spaced select g, 's' from generate_series(1, 600) g",
		"create index spaced_t on spaced(t) tablespace space",
		"create table there(a int) tablespace space_gone", "insert into there select generate_series(1, 100)",
		"alter table there set tablespace pg_default", "drop tablespace space_gone",
		"vacuum spaced", "delete from spaced where a % 2 = 0", "vacuum spaced")
	s.Exec("create database spaced_db tablespace space")
	in := p.Connect("spaced_db")
	in.Each("create table z(a int primary key)", "insert into z select generate_series(1, 300)")
	in.Close()
}

// serverWork makes the records of a server at large: full_page_writes off and on again, an online backup,
// and with wal_level=logical the mappings of a catalog rewritten while a replication slot needs it.
func (p *Postgres) serverWork(s *Session) {
	p.t.Helper()
	start, stop := "pg_backup_start('b', true)", "pg_backup_stop()"
	if !p.has(pg.V15) {
		start, stop = "pg_start_backup('b', true, false)", "pg_stop_backup(false, false)"
	}
	// The checkpointer writes the change down when it sees the signal; the pause lets it come before the checkpoint.
	const reload = "select pg_reload_conf(), pg_sleep(0.3)"
	s.Each("alter system set full_page_writes = off", reload, "checkpoint",
		"update pgbench_accounts set abalance = abalance + 1 where aid % 5 = 0",
		"alter system set full_page_writes = on", reload, "checkpoint",
		"select "+start, "update pgbench_tellers set tbalance = 0", "select "+stop)
	if s.Value("show wal_level") != "logical" {
		return
	}
	s.Each("select pg_create_logical_replication_slot('slot', 'pgoutput')",
		"create table decoded(a int primary key, b text)", "alter table decoded add column c int", "insert into decoded values (1, 'b', 2)",
		"vacuum full pg_class", "vacuum full pg_attribute",
		"select pg_drop_replication_slot('slot')")
}
