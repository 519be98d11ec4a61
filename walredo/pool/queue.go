package pool

// ring are the requests of a process in the order in which it answers them: [first, written) have been
// begun to be written, [written, last) wait for it. Memory grows to the most that ever waited.
type ring struct {
	calls                []*call // a power of two of them
	first, written, last uint64
}

const minRing = 16

func (r *ring) len() int { return int(r.last - r.first) }

func (r *ring) at(i uint64) *call { return r.calls[i&uint64(len(r.calls)-1)] }

func (r *ring) push(c *call) {
	if r.len() == len(r.calls) {
		grown := make([]*call, max(minRing, 2*len(r.calls)))
		for i := r.first; i < r.last; i++ {
			grown[i&uint64(len(grown)-1)] = r.at(i)
		}
		r.calls = grown
	}
	r.calls[r.last&uint64(len(r.calls)-1)] = c
	r.last++
}

func (r *ring) pop() *call {
	c := r.at(r.first)
	r.calls[r.first&uint64(len(r.calls)-1)] = nil
	r.first++
	r.written = max(r.written, r.first)
	return c
}
