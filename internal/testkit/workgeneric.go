package testkit

// GenericWork makes generic records, by the index of the extension bloom.
func (p *Postgres) GenericWork() {
	p.t.Helper()
	s := p.Connect("postgres")
	defer s.Close()
	s.Each(
		"create extension bloom",
		"create table bloomed(id int, a int, b text)",
		"create index bloomed_empty on bloomed using bloom(a, b)",
		"insert into bloomed select g, g % 97, md5(g::text) from generate_series(1, 1500) g",
		"create index bloomed_full on bloomed using bloom(a, b) with (length = 400, col1 = 8)",
		"delete from bloomed where id % 3 = 0", "vacuum bloomed",
		"insert into bloomed select g, g % 97, md5(g::text) from generate_series(2001, 2600) g",
		"delete from bloomed where id < 1200", "vacuum bloomed",
		"insert into bloomed select g, g % 97, md5(g::text) from generate_series(3001, 3300) g",
	)
}
