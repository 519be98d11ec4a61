package schedule

// fifo is a queue of which the front is cheap to take, and whose memory is given back as it empties.
type fifo[T any] struct {
	items []T
	head  int
}

// minTrim is how many taken items are worth giving back.
const minTrim = 64

func (f *fifo[T]) len() int { return len(f.items) - f.head }
func (f *fifo[T]) push(v T) { f.items = append(f.items, v) }
func (f *fifo[T]) front() T { return f.items[f.head] }

func (f *fifo[T]) pop() T {
	var zero T
	v := f.items[f.head]
	f.items[f.head] = zero
	f.head++
	switch {
	case f.head == len(f.items):
		f.items, f.head = nil, 0
	case f.head >= minTrim && f.head > len(f.items)/2:
		f.items = append(f.items[:0:0], f.items[f.head:]...)
		f.head = 0
	}
	return v
}

// trim takes from the front what is over.
func (f *fifo[T]) trim(over func(T) bool) {
	for f.len() > 0 && over(f.front()) {
		f.pop()
	}
}
