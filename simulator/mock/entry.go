package mock

// entry is one value of a layer; see the package's doc.
type entry uint64

// none is the number of no record.
const none = ^uint32(0)

const (
	imageBit  = 1
	recordPos = 1
	keyPos    = 33
)

func newEntry(key, record uint32) entry { return entry(key)<<keyPos | entry(record)<<recordPos }

func (e entry) key() uint32    { return uint32(e >> keyPos) }
func (e entry) record() uint32 { return uint32(e >> recordPos) }
func (e entry) image() bool    { return e&imageBit != 0 }

// below is where the entries of key from record on begin in sorted entries.
func below(es []entry, key, record uint32) int {
	return search(es, newEntry(key, record))
}

// belowNear is below for what is probably close to the front.
func belowNear(es []entry, key, record uint32) int {
	x, n := newEntry(key, record), 4
	for n < len(es) && es[n-1] < x {
		n *= 4
	}
	return search(es[:min(n, len(es))], x)
}

// search gives how many of sorted entries are below x. Its loop has no branch that a processor could guess wrongly.
func search(es []entry, x entry) int {
	at, n := 0, len(es)
	for n > 0 {
		half := (n + 1) / 2
		next := at + half
		if es[next-1] < x {
			at = next
		}
		n -= half
	}
	return at
}

// keySpan gives the entries of keys lo to hi.
func keySpan(es []entry, lo, hi uint32) []entry {
	es = es[below(es, lo, 0):]
	return es[:below(es, hi, 0)]
}
