package testkit

// btreeWork makes the records of btrees: inserts, splits of leaves, inner pages and roots, posting lists,
// deletion of tuples and of pages, reuse of pages.
func btreeWork(s *Session) {
	s.t.Helper()
	const wide = "repeat(md5(g::text), 12)" // few such keys fit a page, so that trees grow high soon
	s.Each(
		// Ascending, descending and random order: splits to the right, to the left and in the middle.
		"create table up(k int); create index up_k on up(k); insert into up select generate_series(1, 6000)",
		"create table down(k int); create index down_k on down(k); insert into down select -g from generate_series(1, 6000) g",
		"create table mixed(k text collate \"C\"); create index mixed_k on mixed(k)",
		"insert into mixed select md5(g::text) from generate_series(1, 6000) g",
		// A high tree of wide keys; suffix truncation; inner pages that split.
		"create table wide(k text collate \"C\", n int); alter table wide alter k set storage plain; create index wide_k on wide(k, n)",
		"insert into wide select "+wide+", g from generate_series(1, 4000) g",
		// Duplicates: posting lists made by deduplication, split by inserts into their middle, thinned by VACUUM.
		"create table dups(k int, f int); create index dups_k on dups(k)",
		"insert into dups select g / 300, g from generate_series(1, 9000) g",
		"delete from dups where f % 3 = 0",
		"vacuum dups",
		"insert into dups select g % 30, g from generate_series(1, 6000) g",
		// A built index has posting lists to begin with.
		"create index dups_f on dups(f)", "reindex index dups_k",
		"insert into dups select g % 30, g % 100 from generate_series(1, 3000) g",
		// Bottom-up deletion: versions of one row under an index whose key does not change.
		"create table churn(id int primary key, n int, t text); create index churn_n on churn(n)",
		"insert into churn select g, 0, 'c' from generate_series(1, 400) g",
		"do $$ begin for i in 1..25 loop update churn set n = n + 1; commit; end loop; end $$",
		// Simple deletion: index scans mark what they find dead, and inserts remove it.
		"create table queue(id int); create index queue_id on queue(id)",
		"do $$ begin set local enable_seqscan = off; set local enable_bitmapscan = off; for i in 1..12 loop insert into queue select g from generate_series(1, 200) g; commit; "+
			"set local enable_seqscan = off; set local enable_bitmapscan = off; delete from queue where id > 20; commit; "+
			"perform count(*) from queue where id between 1 and 200; commit; end loop; end $$",
		// Deletion of whole pages and subtrees, then a tree whose root has one way down, which grows again.
		"delete from up where k between 300 and 5500", "vacuum up",
		"delete from wide where n > 40", "vacuum wide", "select txid_current()", "vacuum wide",
		"insert into wide select "+wide+", g from generate_series(4001, 7000) g",
		"delete from mixed", "vacuum mixed", "select txid_current()", "vacuum mixed",
		"insert into mixed select md5(g::text) from generate_series(1, 3000) g",
		"insert into up select generate_series(300, 3000)",
		"delete from down", "vacuum down", "select txid_current()",
		"insert into down select -g from generate_series(1, 4000) g",
		// A unique index that rejects, and one that includes.
		"create unique index wide_n on wide(n) include (k)",
		"insert into wide select "+wide+", g from generate_series(9001, 9500) g",
	)
	if _, err := s.Try("insert into wide values ('x', 9001)"); err == nil {
		s.t.Fatal("a unique index took a duplicate")
	}
}
