package testkit

// HashWork makes the records of hash indexes: buckets that split and are cleaned up, chains of overflow
// pages that grow and are squeezed, tuples found dead by a search and removed by an insertion. It leaves a
// table "hashed" with an index "hashed_k".
func (p *Postgres) HashWork() {
	p.t.Helper()
	s := p.Connect("postgres")
	defer s.Close()
	s.Each(
		"create table hashed(k int, v text)", "create index hashed_k on hashed using hash(k)",
		// Splits of buckets, through several split points.
		"insert into hashed select g, 'v' from generate_series(1, 6000) g",
		"checkpoint",
		"insert into hashed select g, 'w' from generate_series(6000, 9000) g",
		"delete from hashed where k % 3 = 0", "vacuum hashed",
		// Long chains: many rows of few keys, in several waves, so that what is left of each lies apart.
		"create table chains(k int, n int); create index chains_k on chains using hash(k) with (fillfactor = 40)",
		"insert into chains select g % 3, g from generate_series(1, 4000) g",
		"insert into chains select g % 7, g from generate_series(4001, 9000) g",
		"delete from chains where n % 10 <> 0 and n > 500", "vacuum chains",
		"insert into chains select g % 3, g from generate_series(10001, 13000) g",
		"checkpoint",
		"delete from chains where n between 1 and 9000 and n % 4 <> 1", "vacuum chains",
		"delete from chains where n % 5 <> 1", "vacuum chains", "vacuum chains",
		"insert into chains select g % 5, g from generate_series(20001, 23000) g",
		"delete from chains", "vacuum chains",
		"insert into chains select g % 2, g from generate_series(30001, 31000) g",
		// Built over rows that are there: a bucket count from the start, and text keys.
		"create table hash_many(k text, n int); insert into hash_many select md5(g::text), g from generate_series(1, 3000) g",
		"create index hash_many_k on hash_many using hash(k)", "create index hash_many_n on hash_many using hash(n)",
		"insert into hash_many select md5(g::text), g from generate_series(3001, 5000) g",
		"create unlogged table unlogged_hash(k int); create index on unlogged_hash using hash(k)",
		// A search marks what it finds dead; the next insertion that needs the room takes it.
		"create table dead(k int, n int); create index dead_k on dead using hash(k)",
		"insert into dead select 7, g from generate_series(1, 400) g",
	)
	for range 4 {
		s.Each("delete from dead where n % 3 <> 0", "set enable_seqscan = off", "set enable_bitmapscan = off",
			"select count(*) from dead where k = 7", "reset enable_seqscan", "reset enable_bitmapscan",
			"insert into dead select 7, g from generate_series(1, 500) g")
	}
	// Marks that VACUUM finds.
	s.Each("delete from dead where n % 2 = 0", "set enable_seqscan = off", "set enable_bitmapscan = off",
		"select count(*) from dead where k = 7", "reset enable_seqscan", "reset enable_bitmapscan", "vacuum dead")
}
