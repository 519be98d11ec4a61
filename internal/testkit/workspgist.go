package testkit

// SPGistWork makes the records of SP-GiST indexes: of texts (radix trees, whose inner tuples are split and
// get nodes), of points (quad and k-d trees) and of networks; chains of leaf tuples that grow, move and are
// split; what VACUUM does to leaves, roots and redirects; nulls.
func (p *Postgres) SPGistWork() {
	p.t.Helper()
	s := p.Connect("postgres")
	defer s.Close()
	const spot = "point((g * 7919) % 1000, (g * 4729) % 1000)"
	s.Each(
		"create table words(id int, w text); create index words_w on words using spgist(w)",
		// First a root that is a leaf, with holes.
		"insert into words select g, 'r' || g from generate_series(1, 40) g", "delete from words where id % 2 = 0", "vacuum words",
		"insert into words select g, md5(g::text) from generate_series(1, 4000) g",
		"insert into words select g, 'https://example.org/' || repeat('a', g % 40) || md5(g::text) from generate_series(1, 4000) g",
		"checkpoint",
		// Prefixes that do not match split tuples; labels that are new add nodes, which moves inner tuples.
		"insert into words select g, 'https://example.org/' || repeat('a', g % 20) || chr(40 + g % 80) || g from generate_series(1, 3000) g",
		"insert into words select g, 'https://exa' || chr(33 + g % 90) || repeat(chr(33 + g % 77), 30) || g from generate_series(1, 3000) g",
		"insert into words select g, chr(256 + g % 2000) || 'x' || chr(300 + g % 900) from generate_series(1, 4000) g",
		"insert into words select g, repeat(chr(65 + g % 26), 60 + g % 50) || chr(300 + g % 500) || g from generate_series(1, 3000) g",
		"insert into words select g, null from generate_series(1, 900) g",
		"delete from words where id % 3 = 0", "vacuum words",
		"select txid_current()", "vacuum words",
		"insert into words select g, md5((g * 5)::text) from generate_series(1, 3000) g",
		"delete from words where id % 5 <> 0", "select txid_current()", "vacuum words",
		"checkpoint",
		"insert into words select g, md5((g * 7)::text) from generate_series(1, 4000) g",
		"delete from words", "vacuum words", "select txid_current()", "vacuum words",
		"insert into words select g, md5((g * 11)::text) from generate_series(1, 1000) g",
		// Quad and k-d trees; rows inserted near each other and far apart, between rounds of VACUUM.
		"create table places(id int, p point, n inet)",
		"create index places_quad on places using spgist(p)",
		"create index places_kd on places using spgist(p kd_point_ops)",
		"create index places_n on places using spgist(n) include (id)",
		"insert into places select g, "+spot+", ('10.' || g % 5 || '.' || g % 250 || '.' || g % 199 || '/' || 24 + g % 9)::inet from generate_series(1, 4000) g",
		"delete from places where id % 3 = 0", "vacuum places",
		"insert into places select g, point(5, 5), ('10.1.' || g % 9 || '.' || g % 199)::inet from generate_series(1, 1500) g",
		"insert into places values (0, null, null)",
		"delete from places where id % 2 = 0", "vacuum places", "select txid_current()", "vacuum places",
		"insert into places select g, "+spot+", ('fd00::' || to_hex(g * 37 % 65000))::inet from generate_series(1, 3000) g",
		// Built over rows that are there.
		"create index words_built on words using spgist(w) with (fillfactor = 50)",
		"create index places_built on places using spgist(box(p, p))",
		"insert into words select g, md5((g * 13)::text) from generate_series(1, 1000) g",
		"insert into places select g, "+spot+", '10.0.0.1' from generate_series(1, 1000) g",
		"delete from places where id < 1500", "vacuum places",
	)
}
