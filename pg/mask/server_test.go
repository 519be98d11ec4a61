package mask_test

import (
	"fmt"
	"maps"
	"math/bits"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/internal/testkit"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
	"github.com/stratapg/strata/pg/mask"
)

// schema has a relation of every access method, each with several kinds of page.
var schema = []string{
	"create extension bloom",
	`create table k(id serial primary key, a int, b text, c int[], p point, ts timestamptz, pad text)`,
	`insert into k(a,b,c,p,ts,pad) select g%97, md5(g::text), array[g%10,g%7,g], point(g%100,g/100),
		timestamptz '2024-01-01' + g*interval '1 min', repeat('x',100) from generate_series(1,6000) g`,
	"create index on k(a,b)",
	"create index on k using hash(b)",
	"create index on k using gin(c) with (fastupdate=off)",
	"create index on k using gin(c) with (fastupdate=on)",
	"create index on k using gist(p)",
	"create index on k using spgist(p)",
	"create index on k using brin(ts) with (pages_per_range=2)",
	"create index on k using bloom(a,b)",
	"create sequence s",
	"select nextval('s')",
	"delete from k where id%3=0",
	"update k set a=a+1 where id%7=0",
	"vacuum k",
	"insert into k(a,b,c,p,ts) select g, 'n', array[g,1], point(g,g), now() from generate_series(1,500) g",
	"delete from k where id between 1000 and 3000",
	"vacuum k",
}

// relations gives file number and access method of everything that has pages.
const relations = `select pg_relation_filenode(c.oid), coalesce(am.amname, case c.relkind when 'S' then 'sequence' else 'heap' end)
	from pg_class c left join pg_am am on am.oid = c.relam
	where pg_relation_filenode(c.oid) is not null and not c.relisshared`

var kindOfAM = map[string]mask.Kind{
	"heap": mask.KindHeap, "btree": mask.KindBtree, "hash": mask.KindHash, "gin": mask.KindGin, "gist": mask.KindGist,
	"spgist": mask.KindSPGist, "brin": mask.KindBRIN, "sequence": mask.KindSequence, "bloom": mask.KindGeneric,
}

type sample struct {
	page  []byte
	block uint32
}

// serverPages makes a cluster with every kind of page and reads them; KindOf must agree with the catalog.
func serverPages(t *testing.T, v pg.Version) map[mask.Kind][]sample {
	p := testkit.Server(t, v, testkit.Config{})
	p.Start()
	s := p.Connect("postgres")
	s.Each(schema...)
	am := map[string]string{}
	for _, row := range s.Query(relations) {
		am[row[0]] = row[1]
	}
	db := s.Value("select oid from pg_database where datname = 'postgres'")
	s.Close()
	p.Stop()
	pages := map[mask.Kind][]sample{}
	for _, node := range slices.Sorted(maps.Keys(am)) { // what is drawn of them is to be the same again
		method := am[node]
		for fork, suffix := range []string{"", "_fsm", "_vm", "_init"} {
			b, err := os.ReadFile(filepath.Join(p.Data, "base", db, node+suffix))
			if os.IsNotExist(err) {
				continue
			}
			require.NoError(t, err)
			for n := 0; n < len(b)/pg.BlockSize; n++ {
				one := b[n*pg.BlockSize : (n+1)*pg.BlockSize]
				kind := mask.KindOf(one, page.Fork(fork))
				want, ok := kindOfAM[method]
				require.True(t, ok, method)
				switch fork {
				case int(page.ForkFSM):
					want = mask.KindFSM
				case int(page.ForkVM):
					want = mask.KindVM
				}
				if kind != mask.KindNew {
					require.Equal(t, want.String(), kind.String(), "%s%s block %d is of a %s", node, suffix, n, method)
				}
				pages[kind] = append(pages[kind], sample{one, uint32(n)})
			}
		}
	}
	return pages
}

// A flipped bit in any byte outside the mask is found, on real pages of every kind; one inside is not. What
// share of a page is masked is printed.
func TestTeeth(t *testing.T) {
	for _, v := range []pg.Version{pg.V14, pg.V15, pg.V16, pg.V17} {
		t.Run(fmt.Sprint(int(v)), func(t *testing.T) {
			pages := serverPages(t, v)
			for _, kind := range mask.Kinds() {
				if kind == mask.KindNew {
					continue
				}
				require.NotEmpty(t, pages[kind], "no page of kind %s", kind)
				r := rand.New(rand.NewPCG(1, uint64(kind)))
				if !testkit.UnderRace {
					printShare(t, kind, pages[kind])
				}
				for range min(testkit.Size(1, 4, 16), len(pages[kind])) {
					flip(t, r, kind, pages[kind][r.IntN(len(pages[kind]))])
				}
			}
		})
	}
}

func printShare(t *testing.T, kind mask.Kind, pages []sample) {
	whole, part, free := 0, 0, 0
	for _, s := range pages {
		for i, c := range mask.Cover(s.page, kind, s.block) {
			switch {
			case c == 0xFF:
				whole++
				if lower, upper := u16(s.page, 12), u16(s.page, 14); lower <= i && i < upper {
					free++
				}
			case c != 0:
				part++
			}
		}
	}
	total := float64(len(pages) * pg.BlockSize)
	t.Logf("%-8s %5d pages: %5.2f %% of the bytes masked (%5.2f %% free space, %.2f %% other), %.2f %% in some bits",
		kind, len(pages), 100*float64(whole)/total, 100*float64(free)/total, 100*float64(whole-free)/total, 100*float64(part)/total)
}

func u16(p []byte, off int) int { return int(p[off]) | int(p[off+1])<<8 }

// flip flips one random unmasked bit in every byte that has one, and one masked bit in every byte that is
// masked whole.
func flip(t *testing.T, r *rand.Rand, kind mask.Kind, s sample) {
	cover := mask.Cover(s.page, kind, s.block)
	changed := append([]byte(nil), s.page...)
	require.Equal(t, -1, mask.Difference(s.page, changed, kind, s.block))
	for i := range changed {
		if cover[i] != 0xFF {
			bit := pick(r, ^cover[i])
			changed[i] ^= bit
			at := mask.Difference(s.page, changed, kind, s.block)
			require.GreaterOrEqual(t, at, 0, "%s: bit %02X of byte %d (masked bits %02X)", kind, bit, i, cover[i])
		} else if !infomaskHigh(kind, cover, i) {
			changed[i] ^= 1 << r.IntN(8)
			require.Equal(t, -1, mask.Difference(s.page, changed, kind, s.block), "%s: masked byte %d", kind, i)
		}
		changed[i] = s.page[i]
	}
}

// infomaskHigh tells the upper byte of a tuple's infomask: all of it is masked while xmin is not frozen, but
// one bit more may make it frozen, which is no hint.
func infomaskHigh(kind mask.Kind, cover []byte, i int) bool {
	const lowerHalf = 0xF0
	return kind == mask.KindHeap && i > 0 && cover[i-1] == lowerHalf
}

// pick gives a random one of the bits set.
func pick(r *rand.Rand, set byte) byte {
	for n := r.IntN(bits.OnesCount8(set)); n > 0; n-- {
		set &= set - 1
	}
	return set & -set
}
