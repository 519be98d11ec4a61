package testkit

// GistWork makes the records of GiST indexes: splits of leaves, inner pages and roots, whose left halves
// wait for downlinks; tuples replaced and removed, by VACUUM and by insertions that find them dead; pages
// deleted and used again.
func (p *Postgres) GistWork() {
	p.t.Helper()
	s := p.Connect("postgres")
	defer s.Close()
	const (
		spot = "point((g * 7919) % 1000, (g * 4729) % 1000)"
		area = "box(point(g % 100, g / 100), point(g % 100 + g % 7, g / 100 + 3))"
	)
	s.Each(
		"create table spots(id int, p point); create index spots_p on spots using gist(p)",
		"insert into spots select g, "+spot+" from generate_series(1, 8000) g",
		"checkpoint",
		"insert into spots select g, "+spot+" from generate_series(8001, 12000) g",
		"create table areas(id int, b box, c circle); create index areas_b on areas using gist(b)",
		"insert into areas select g, "+area+", circle(point(g, g), 2) from generate_series(1, 5000) g",
		// Wide keys: inner pages that split, and insertions that split several levels at once.
		"create table texts(id int, v tsvector); create index texts_v on texts using gist(v tsvector_ops(siglen = 900))",
		"insert into texts select g, to_tsvector('simple', md5(g::text) || ' ' || md5((g * 3)::text) || ' w' || g % 50) from generate_series(1, 2500) g",
		// Built over rows that are there: sorted where the operator class can, by insertion otherwise.
		"create index spots_again on spots using gist(p) with (fillfactor = 60)",
		"create index areas_c on areas using gist(c, b) with (buffering = on)",
		"create index ranges_r on areas using gist(int4range(id, id + 10)) include (id)",
		"insert into areas select g, "+area+", circle(point(g, g), 2) from generate_series(5001, 7000) g",
		// Leaves that lose tuples, all of them at last, are deleted; later ones are used again.
		"delete from spots where id % 3 = 0", "vacuum spots",
		"delete from spots where p[0] < 700", "vacuum spots", "select txid_current()", "vacuum spots",
		"checkpoint",
		"insert into spots select g, "+spot+" from generate_series(20001, 24000) g",
		"delete from areas", "vacuum areas", "select txid_current()",
		"insert into areas select g, "+area+", circle(point(g, g), 2) from generate_series(1, 3000) g",
		// A search marks what it finds dead; the next insertion that needs the room takes it.
		"create table gone(id int, p point); create index gone_p on gone using gist(p)",
		"insert into gone select g, point(g % 3, 1) from generate_series(1, 300) g",
	)
	for range 4 {
		s.Each("delete from gone where id % 4 <> 0", "set enable_seqscan = off", "set enable_bitmapscan = off",
			"select count(*) from gone where p <@ box '(0,0),(9,9)'", "reset enable_seqscan", "reset enable_bitmapscan",
			"insert into gone select g, point(g % 3, 1) from generate_series(1, 400) g")
	}
}
