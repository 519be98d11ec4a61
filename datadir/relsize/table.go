package relsize

// Memory grants bytes and takes them back.
type Memory interface {
	TryAcquire(bytes int64) bool
	Release(bytes int64)
}

// entryBytes is what an entry costs: 40 bytes in the slice, 4 among the free ones, and its place in a map that may be
// half empty.
const entryBytes = 128

// firstRoom is for how many entries a table first asks memory.
const firstRoom = 64

// table is a map that forgets what was used longest ago.
type table[K comparable, V any] struct {
	byKey   map[K]int32
	entries []entry[K, V] // entries[0] is the ring's head: next is the newest, prev the oldest
	free    []int32
	room    int // entries that memory was granted for
	limit   int // entries there may be
}

type entry[K comparable, V any] struct {
	key        K
	value      V
	prev, next int32
}

// get gives the value of k to read or change, nil if there is none, and counts as a use of it.
func (t *table[K, V]) get(k K) *V {
	i, ok := t.byKey[k]
	if !ok {
		return nil
	}
	if t.entries[0].next != i {
		t.unlink(i)
		t.linkNewest(i)
	}
	return &t.entries[i].value
}

// put adds a key that is not there. Without room another one gives way, or the key itself.
func (t *table[K, V]) put(k K, v V, m Memory) (evicted int) {
	if len(t.byKey) >= t.room && !t.grow(m) {
		if t.room == 0 {
			return 0
		}
		t.drop(t.entries[0].prev)
		evicted = 1
	}
	var i int32
	if n := len(t.free); n > 0 {
		i, t.free = t.free[n-1], t.free[:n-1]
	} else {
		i, t.entries = int32(len(t.entries)), append(t.entries, entry[K, V]{})
	}
	t.entries[i].key, t.entries[i].value = k, v
	t.byKey[k] = i
	t.linkNewest(i)
	return evicted
}

// grow doubles the room, if memory is granted.
func (t *table[K, V]) grow(m Memory) bool {
	room := min(max(2*t.room, firstRoom), t.limit)
	if room <= t.room || !m.TryAcquire(int64(room-t.room)*entryBytes) {
		return false
	}
	entries := append(make([]entry[K, V], 0, room+1), t.entries...)
	if len(entries) == 0 {
		entries = append(entries, entry[K, V]{})
	}
	byKey := make(map[K]int32, room)
	for k, i := range t.byKey {
		byKey[k] = i
	}
	t.entries, t.byKey, t.room = entries, byKey, room
	return true
}

// remove forgets k.
func (t *table[K, V]) remove(k K) {
	if i, ok := t.byKey[k]; ok {
		t.drop(i)
	}
}

// removeIf forgets what gone says.
func (t *table[K, V]) removeIf(gone func(K, V) bool) {
	for k, i := range t.byKey {
		if gone(k, t.entries[i].value) {
			t.drop(i)
		}
	}
}

// close forgets all, takes nothing more, and gives the memory back.
func (t *table[K, V]) close(m Memory) {
	m.Release(int64(t.room) * entryBytes)
	*t = table[K, V]{}
}

func (t *table[K, V]) drop(i int32) {
	delete(t.byKey, t.entries[i].key)
	t.unlink(i)
	t.free = append(t.free, i)
}

func (t *table[K, V]) unlink(i int32) {
	e := &t.entries[i]
	t.entries[e.prev].next = e.next
	t.entries[e.next].prev = e.prev
}

func (t *table[K, V]) linkNewest(i int32) {
	e, head := &t.entries[i], &t.entries[0]
	e.prev, e.next = 0, head.next
	t.entries[head.next].prev = i
	head.next = i
}
