package testkit

// BrinWork makes every record of BRIN indexes: summaries made by index builds, by function and by VACUUM,
// widened in place and moved for lack of room, removed; and a range map that grows into the summaries'
// pages, so that these have to move.
func (p *Postgres) BrinWork() {
	p.t.Helper()
	s := p.Connect("postgres")
	defer s.Close()
	const wide = "repeat(md5(g::text), 110)" // two rows to a page
	withoutCopies(s,
		"create table brin_wide(id int, t timestamptz, x text)", "alter table brin_wide alter x set storage plain",
		"insert into brin_wide select g, '2024-01-01'::timestamptz + g * interval '1 h', "+wide+" from generate_series(1, 1200) g",
	)
	s.Each(
		"create index brin_wide_id on brin_wide using brin(id, t) with (pages_per_range = 1)",
		"create index brin_wide_multi on brin_wide using brin(id int4_minmax_multi_ops) with (pages_per_range = 4)",
		"create index brin_wide_bloom on brin_wide using brin(t timestamptz_bloom_ops) with (pages_per_range = 32)",
	)
	withoutCopies(s, "insert into brin_wide select g, '2025-01-01'::timestamptz + g * interval '1 h', "+wide+" from generate_series(1201, 3100) g")
	s.Each(
		// One page of the range map has 1,360 ranges; the one more that they need is where summaries are.
		"select brin_summarize_new_values('brin_wide_id')",
		"select brin_desummarize_range('brin_wide_id', b) from generate_series(0, 400, 3) b",
		"select brin_desummarize_range('brin_wide_multi', b) from generate_series(0, 400, 40) b",
		"select brin_summarize_range('brin_wide_id', b) from generate_series(0, 30, 3) b",
		"delete from brin_wide where id % 3 = 0", "vacuum brin_wide",
		"insert into brin_wide select -g, '2023-01-01'::timestamptz - g * interval '1 h', "+wide+" from generate_series(1, 150) g",
		"select brin_summarize_new_values('brin_wide_multi')", "select brin_desummarize_range('brin_wide_id', 1500)",
	)
	// Summaries that become longer: in their place, elsewhere on the page, on another page, on a new one.
	s.Each(
		"create table brin_text(id int, k text collate \"C\") with (fillfactor = 20)",
		"insert into brin_text select g, lpad(g::text, 8, '0') from generate_series(1, 3000) g",
		"create index brin_text_k on brin_text using brin(k) with (pages_per_range = 1)",
		"insert into brin_text select g, 'z' || repeat('z', g % 900) from generate_series(1, 200) g",
	)
	withoutCopies(s, "alter table brin_text set (fillfactor = 100)")
	s.Each(
		"update brin_text set k = 'z' || repeat('y', id % 1500) where id % 11 = 0",
		"update brin_text set k = 'a' where id % 7 = 0", "update brin_text set k = 'zz' || repeat(md5(id::text), 20) where id % 23 = 0",
		"vacuum brin_text", "reindex index brin_text_k",
	)
}
