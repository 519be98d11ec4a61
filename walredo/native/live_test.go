package native

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/internal/testkit"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
	"github.com/stratapg/strata/pg/wal"
)

// workload is what a session does to heap tables, btree indexes and sequences; every operation of Heap and
// Heap2 that such work can cause occurs.
var workload = strings.Split(`create table t(id serial primary key, a int, b text, c numeric) with (fillfactor=80);
insert into t(a,b,c) select g%97, repeat(md5(g::text),1+g%4), g from generate_series(1,4000) g;
create index on t(a); create index on t(b);
create table w(k int, v text); insert into w select g, 'v' from generate_series(1,1000) g;
update t set b='x'||b where id%7=0; update t set c=c+1 where id%5=0; update t set a=a+1,b=left(b,20) where id%11=0;
update t set b=left(b,10)||'mid'||right(b,10) where id%13=0;
do $$ begin for i in 1..30 loop update t set c=c+1 where id<=60; commit; end loop; end $$;
select count(*) from t where id<100;
delete from t where id%3=0; vacuum t; insert into t(a,b,c) select g, 'again', g from generate_series(1,500) g;
vacuum (freeze) t; update t set c=c*2 where id%17=0; delete from t where id%19=0; insert into w values (-1,'vm');
vacuum (freeze, index_cleanup on) w; select * from w where k<20 for update; select * from w where k<40 for key share; vacuum w;
begin; savepoint a; select * from w where k=5 for share; update w set v='u' where k=6; rollback to a; update w set v='uu' where k=7; commit;
create table u(k int primary key, v int); insert into u select g,0 from generate_series(1,300) g;
insert into u values(1,1) on conflict(k) do update set v=99; insert into u values(1000,1) on conflict do nothing; insert into u values(1,1) on conflict do nothing;
create table p(a int, b text) partition by range(a); create table p1 partition of p for values from (0) to (100); create table p2 partition of p for values from (100) to (1000);
insert into p select g%1000,'b' from generate_series(0,999) g; update p set a=a+100 where a<50;
create table big(id int primary key, d text); alter table big alter d set storage external; insert into big select g, repeat(md5(g::text),2000) from generate_series(1,12) g; update big set d=d||'tail' where id<4; delete from big where id=9; vacuum big;
create sequence sq cache 5; select count(nextval('sq')) from generate_series(1,500); select setval('sq',1000); alter sequence sq increment 3; select nextval('sq');
begin; insert into w values(1,'2pc'); prepare transaction 'p1'; begin; update w set v='z' where k=9; prepare transaction 'p2'; commit prepared 'p1'; rollback prepared 'p2';
create table tr(a int); insert into tr select g from generate_series(1,3000) g; truncate tr; insert into tr select g from generate_series(1,3000) g; delete from tr where a>100; vacuum tr; insert into tr select g from generate_series(1,3000) g;
create table cp as select g a, 'copy'||g b from generate_series(1,5000) g; begin; create table cp2(a int, b text); insert into cp2 select * from cp; commit; cluster t using t_pkey; vacuum full w;
create table cols(a int, b int, c text, d text, e bool, f text); insert into cols select g,null,repeat('c',g%30),null,true,'f' from generate_series(1,500) g; update cols set b=a; update cols set c=null; update cols set f=null,d='dd' where a%2=0; alter table cols add column g int default 7; update cols set g=8 where a%3=0; delete from cols where a%4=0; vacuum cols; vacuum (freeze) cols;
create unlogged table un(a int primary key); insert into un select generate_series(1,100); alter table un set logged; update un set a=a+1000;
do $$ begin for i in 1..150 loop begin insert into u values(i+2000,i); if i%10=0 then raise exception 'x'; end if; exception when others then null; end; end loop; end $$;
create table bd(k int); create index on bd(k); insert into bd select g/200 from generate_series(1,8000) g; delete from bd where k between 5 and 35; vacuum bd; vacuum bd; insert into bd select g from generate_series(1000,3000) g; delete from bd; vacuum bd; vacuum bd`, "\n")

// Every page that a record changes is, by our redo, what the server that wrote the record saw. Without
// checksums and with them some records set pd_lsn differently; 14 and 16 are for the long run.
func TestRecordByRecord(t *testing.T) {
	if !testkit.WithoutRace(t) {
		return
	}
	for _, v := range []pg.Version{pg.V14, pg.V15, pg.V16, pg.V17} {
		for _, checksums := range []bool{true, false} {
			if !testkit.Long() && (v == pg.V14 || v == pg.V16 || checksums == (v == pg.V17)) {
				continue
			}
			t.Run(fmt.Sprintf("%d/checksums=%v", v, checksums), func(t *testing.T) { recordByRecord(t, v, checksums) })
		}
	}
}

func recordByRecord(t *testing.T, v pg.Version, checksums bool) {
	p := testkit.Server(t, v, testkit.Config{NoChecksums: !checksums, Settings: map[string]string{
		"wal_consistency_checking": "all", "full_page_writes": "off", "wal_level": "logical", "wal_keep_size": "4GB",
	}})
	base := filepath.Join(t.TempDir(), "base")
	testkit.CopyTree(t, base, p.Data)
	p.Start()
	runWorkload(p)
	p.Stop()

	r := newReplayer(t, v, base)
	r.checksums = checksums
	r.run(segments(t, p.Data), wal.DecoderOptions{Version: v, Start: endOfCheckpoint(t, base), SegSize: 16 << 20})
	r.report()
	require.Empty(t, r.unsupported)
	compared, different, gone := r.compareWith(p.Data)
	t.Logf("compared=%d different=%d gone=%d", compared, different, gone)
	require.Zero(t, r.failed)
	require.Zero(t, r.different)
	require.Zero(t, different)
	require.Greater(t, r.checked, 10000)
}

// runWorkload runs the statements, and locks and updates from two sessions on the same rows.
func runWorkload(p *testkit.Postgres) {
	s := p.Connect("postgres")
	for _, line := range workload {
		s.Each(splitStatements(line)...)
	}
	o := p.Connect("postgres")
	for i := range 20 {
		s.Exec("begin")
		o.Exec("begin")
		s.Exec(fmt.Sprintf("select * from u where k=%d for key share", 20+i))
		o.Exec(fmt.Sprintf("update u set v=v+1 where k=%d", 20+i))
		s.Exec(fmt.Sprintf("select * from u where k=%d for key share", 20+i))
		s.Exec(fmt.Sprintf("select * from u where k=%d for key share", 120+i))
		o.Exec(fmt.Sprintf("update u set v=v+1 where k=%d", 220+i))
		s.Exec(fmt.Sprintf("select * from u where k=%d for key share", 220+i))
		o.Exec("commit")
		s.Exec("commit")
		s.Exec(fmt.Sprintf("select * from u where k=%d for update", 20+i))
	}
	s.Exec("vacuum (freeze) u")
	o.Close()
}

// splitStatements cuts a line at semicolons outside of $$.
func splitStatements(line string) (out []string) {
	quoted := false
	start := 0
	for i := 0; i < len(line); i++ {
		switch {
		case strings.HasPrefix(line[i:], "$$"):
			quoted = !quoted
			i++
		case line[i] == ';' && !quoted:
			out = append(out, line[start:i])
			start = i + 1
		}
	}
	return append(out, line[start:])
}

// endOfCheckpoint reads from pg_control where the WAL after a clean stop begins.
func endOfCheckpoint(t *testing.T, data string) page.LSN {
	const offCheckpoint = 32
	b, err := os.ReadFile(filepath.Join(data, "global", "pg_control"))
	require.NoError(t, err)
	return wal.ShutdownCheckpointEnd(page.LSN(le.Uint64(b[offCheckpoint:])), 16<<20)
}

// segments gives the cluster's WAL from the start of its first segment file.
func segments(t *testing.T, data string) (all []byte) {
	names, err := filepath.Glob(filepath.Join(data, "pg_wal", strings.Repeat("[0-9A-F]", 24)))
	require.NoError(t, err)
	slices.Sort(names)
	require.Equal(t, "000000010000000000000001", filepath.Base(names[0]))
	for _, name := range names {
		b, err := os.ReadFile(name)
		require.NoError(t, err)
		all = append(all, b...)
	}
	return all
}
