package testkit

// heapWork makes the records of heaps: HOT chains and pruning, deletes, freezing, visibility, TOAST,
// speculative insertions, truncation by VACUUM.
func heapWork(s *Session) {
	s.t.Helper()
	s.Each(
		// HOT chains, pruned as they grow; the rows of the second half stay as they are.
		"create table hot(id int primary key, n int, t text) with (fillfactor = 60)",
		"insert into hot select g, 0, repeat('h', g % 30) from generate_series(1, 400) g",
		"do $$ begin for i in 1..25 loop update hot set n = n + 1 where id <= 60; commit; end loop; end $$",
		"select count(*) from hot",
		"vacuum hot",
		// Updates that move a row to another page, and to the same one under a changed index.
		"create table moved(id int primary key, k int, t text)",
		"create index moved_k on moved(k)",
		"insert into moved select g, g % 10, repeat('m', 100) from generate_series(1, 600) g",
		"update moved set t = repeat('M', 900) where id % 5 = 0",
		"update moved set k = k + 1 where id % 7 = 0",
		"update moved set t = t || id::text where id % 2 = 0",
		"delete from moved where id % 3 = 0",
		"vacuum moved",
		"insert into moved select g, g, 'again' from generate_series(601, 900) g",
		// Rows with nulls, dropped and added columns.
		"create table nulls(a int, b text, c numeric, d text)",
		"insert into nulls select g, case when g % 2 = 0 then 'b' end, case when g % 3 = 0 then g end, null from generate_series(1, 300) g",
		"alter table nulls drop column c",
		"alter table nulls add column e int default 7",
		"update nulls set d = 'd', e = a where a % 4 = 0",
		// Speculative insertions and their confirmation.
		"create table upserted(k int primary key, n int)",
		"insert into upserted select g, 0 from generate_series(1, 200) g on conflict do nothing",
		"insert into upserted select g, 0 from generate_series(100, 300) g on conflict (k) do update set n = upserted.n + 1",
		// Freezing, also of pages that are all visible already, and clearing of the map's bits afterwards.
		"create table frozen(a int, t text)",
		"insert into frozen select g, repeat('f', 50) from generate_series(1, 2000) g",
		"vacuum frozen", "vacuum (freeze) frozen",
		"update frozen set t = 'thawed' where a % 400 = 0",
		"delete from frozen where a between 100 and 110",
		"select * from frozen where a = 700 for update",
		"vacuum (freeze) frozen", "vacuum (freeze) hot, moved",
		// The end of a table cut off by VACUUM, with its map.
		"create table shrunk(a int, t text)",
		"insert into shrunk select g, repeat('s', 200) from generate_series(1, 3000) g",
		"vacuum shrunk",
		"delete from shrunk where a > 150",
		"vacuum shrunk",
		"insert into shrunk select g, 'after' from generate_series(1, 500) g",
		"truncate shrunk",
		"insert into shrunk values (1, 'after truncate')",
		// TOAST: out of line, updated, deleted, vacuumed.
		"create table toasted(id int primary key, d text)",
		"alter table toasted alter d set storage external",
		"insert into toasted select g, repeat(md5(g::text), 1000) from generate_series(1, 20) g",
		"update toasted set d = d || 'tail' where id < 6",
		"delete from toasted where id % 4 = 0",
		"vacuum toasted",
		// An unlogged table: of it the WAL has the init fork alone.
		"create unlogged table unlogged(a int primary key, t text)",
		"insert into unlogged select g, 'u' from generate_series(1, 100) g",
		"create unlogged table logged_later(a int primary key)",
		"insert into logged_later select generate_series(1, 500)",
		"alter table logged_later set logged",
		"create temp table temporary(a int)",
		"insert into temporary values (1)",
	)
}

// lockWork makes multixacts: rows locked and updated by two sessions at once.
func (p *Postgres) lockWork(s *Session) {
	p.t.Helper()
	a, b := p.Connect("postgres"), p.Connect("postgres")
	defer a.Close()
	defer b.Close()
	s.Each("create table locked(id int primary key, n int)", "insert into locked select g, 0 from generate_series(1, 300) g")
	// Two sharers, then a third; an updater of what is locked; a locker of what is being updated, which
	// locks the new version of the row too.
	a.Exec("begin; select * from locked where id <= 100 for share")
	b.Exec("begin; select * from locked where id <= 80 for key share; select * from locked where id <= 50 for share")
	s.Exec("begin; select * from locked where id <= 40 for share; commit")
	s.Exec("begin; savepoint x; select * from locked where id <= 30 for key share; release x; commit")
	b.Exec("commit")
	a.Exec("commit")
	a.Exec("begin; update locked set n = n + 1 where id between 100 and 160")
	b.Exec("begin; select * from locked where id between 100 and 150 for key share")
	a.Exec("commit")
	s.Exec("begin; select * from locked where id between 120 and 140 for key share; commit")
	b.Exec("commit")
	// A lock taken and the row then updated and deleted by the same transaction.
	a.Exec("begin; select * from locked where id between 200 and 220 for key share")
	b.Exec("begin; select * from locked where id between 200 and 220 for no key update; update locked set n = 9 where id between 200 and 210; commit")
	a.Exec("rollback")
	a.Exec("begin; select * from locked where id = 250 for update; delete from locked where id = 250; commit")
	s.Each("update locked set n = n + 1 where id <= 60", "vacuum (freeze) locked")
	manyMultixacts(a, b)
	s.Each("vacuum (freeze) locked")
}

// manyMultixacts makes enough of them to fill pages of their SLRUs: a page holds 1,636 members.
func manyMultixacts(a, b *Session) {
	const rounds = 12
	for range rounds {
		a.Exec("begin; select * from locked where id <= 240 for key share")
		b.Exec("begin; select * from locked where id <= 240 for share; commit")
		a.Exec("commit")
	}
}
