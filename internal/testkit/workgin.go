package testkit

// GinWork makes every record of GIN indexes: with the list of pending tuples and without, of arrays, jsonb
// and text search vectors; posting trees that are made, split and vacuumed and lose pages; wide keys, so
// that entry trees grow high.
func (p *Postgres) GinWork() {
	p.t.Helper()
	s := p.Connect("postgres")
	defer s.Close()
	s.Exec("set gin_pending_list_limit = '64kB'")
	postingTreeWork(s)
	entryTreeWork(s)
	pendingListWork(s)
}

// withoutCopies has a session write records without the copies of wal_consistency_checking, which would
// make much WAL of bulk work; records behind them show what it did.
func withoutCopies(s *Session, statements ...string) {
	s.t.Helper()
	s.Exec("set wal_consistency_checking = ''")
	s.Each(statements...)
	s.Exec("reset wal_consistency_checking")
}

// postingTreeWork has keys with tens of thousands of rows.
func postingTreeWork(s *Session) {
	s.t.Helper()
	const row = "array[1, 100 + g % 3, 1000 + g % 40]"
	withoutCopies(s,
		"create table gin_many(id int, k int[])",
		"insert into gin_many select g, "+row+" from generate_series(1, 30000) g",
		"create index gin_many_at_once on gin_many using gin(k) with (fastupdate = off)",
		"create index gin_many_later on gin_many using gin(k) with (fastupdate = on)",
	)
	s.Each(
		// More of each: lists outgrow their tuples and become trees.
		"insert into gin_many select g, "+row+" from generate_series(30001, 30400) g",
		"insert into gin_many select g, array[7] from generate_series(40001, 40020) g",
	)
	withoutCopies(s, "insert into gin_many select g, array[5, 100 + g % 3] from generate_series(50001, 53200) g")
	s.Each(
		"vacuum gin_many",
		// Thinned out, then a stretch without any row: leaves become empty and go.
		"delete from gin_many where id % 5 = 0", "vacuum gin_many",
		"delete from gin_many where id between 4000 and 27000", "vacuum gin_many", "select txid_current()", "vacuum gin_many",
		// New rows in the room of the old: TIDs go into the middle of trees.
		"insert into gin_many select g, "+row+" from generate_series(60001, 60400) g",
	)
	withoutCopies(s, "insert into gin_many select g, "+row+" from generate_series(70001, 85000) g")
	s.Each("insert into gin_many select g, "+row+" from generate_series(90001, 90300) g", "vacuum gin_many",
		"delete from gin_many where id % 2 = 0", "vacuum gin_many",
		// The leaves that go now are not used again.
		"delete from gin_many where id between 71000 and 90200", "vacuum gin_many")
}

// entryTreeWork has many keys, narrow and wide.
func entryTreeWork(s *Session) {
	s.t.Helper()
	const words = "array_to_string(array(select md5((g * 7 + i)::text) from generate_series(1, 6) i), ' ')"
	const wide = "(select string_agg(md5((g * 31 + i)::text), '') from generate_series(1, 25) i)" // few such keys fit a page
	s.Each(
		"create table gin_words(id int, t text, j jsonb, v tsvector, w text[])",
		"create index gin_words_v on gin_words using gin(v) with (fastupdate = off)",
		"create index gin_words_j on gin_words using gin(j jsonb_path_ops)",
		"create index gin_words_jj on gin_words using gin(j) with (fastupdate = off)",
		"create index gin_words_w on gin_words using gin(w) with (fastupdate = off)",
		"insert into gin_words select g, 'n', jsonb_build_object('id', g, 'mod', g % 5, 'list', jsonb_build_array(g % 3, g % 4)), "+
			"to_tsvector('simple', "+words+"), array["+wide+", null] from generate_series(1, 350) g",
		"insert into gin_words values (0, null, null, null, null), (-1, '', '{}', '', '{}')",
		"update gin_words set j = j || '{\"more\": 1}' where id % 4 = 0",
		"delete from gin_words where id % 3 = 0", "vacuum gin_words",
	)
	withoutCopies(s, "insert into gin_words select g, 'm', null, null, array["+wide+"] from generate_series(1001, 2500) g")
	s.Each("insert into gin_words select g, 'm', null, null, array["+wide+", "+wide+" || 'x'] from generate_series(3001, 3200) g",
		"delete from gin_words where id > 100", "vacuum gin_words")
}

// pendingListWork fills and empties the list of pending tuples: with rows of few keys, and with rows whose
// keys fill several pages.
func pendingListWork(s *Session) {
	s.t.Helper()
	s.Each(
		"create table gin_list(id int, k int[])",
		"create index gin_list_k on gin_list using gin(k) with (fastupdate = on, gin_pending_list_limit = 64)",
		"insert into gin_list select g, array[g, g + 1] from generate_series(1, 700) g",
		"insert into gin_list select g, array(select g * 1000 + i from generate_series(1, 900) i) from generate_series(1, 6) g",
		"select gin_clean_pending_list('gin_list_k')",
		"insert into gin_list select g, array[g % 10] from generate_series(1, 300) g",
		"vacuum gin_list",
		"insert into gin_list select 7, array(select i from generate_series(1, 2000) i)",
		"insert into gin_list select 8, array[1, 2, 3]",
	)
}
