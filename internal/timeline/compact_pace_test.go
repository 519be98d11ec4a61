package timeline

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// paced is a pace under a clock that a test moves.
type paced struct {
	*ioPace
	now time.Time
}

func newPaced(limit int64) *paced {
	p := &paced{now: time.Unix(1, 0)}
	p.ioPace = newPace(func() time.Time { return p.now }, limit)
	return p
}

// read notes as many reads as mean anything.
func (p *paced) read(took time.Duration) {
	for range paceSamples {
		p.reads.classes[latencyClass(took)].Add(1)
	}
}

// window has background work do so many bytes in one window of reads that took so long; none if 0.
func (p *paced) window(bytes int64, took time.Duration) {
	p.charge(bytes)
	if took > 0 {
		p.read(took)
	}
	p.now = p.now.Add(paceWindow)
	p.charge(0)
}

func TestPaceWithoutReads(t *testing.T) {
	p := newPaced(0)
	p.begin()
	p.window(1<<30, 0)
	require.Zero(t, p.rate(), "nothing holds work back that nobody suffers from")
	require.False(t, p.gentle())
}

func TestPaceGivesWayToReads(t *testing.T) {
	p := newPaced(0)
	p.read(100 * time.Microsecond)
	p.begin()
	require.Equal(t, int64(firstPace), p.rate(), "it does not begin at full speed")
	require.True(t, p.gentle())
	full := int64(firstPace * paceWindow / time.Second)
	p.window(full, 150*time.Microsecond)
	require.Greater(t, p.rate(), int64(firstPace), "reads do not suffer")
	p.window(full, time.Millisecond)
	require.Less(t, p.rate(), int64(firstPace), "they do")
	for range 20 {
		p.window(p.rate()/4, time.Millisecond)
	}
	require.Equal(t, int64(leastPace), p.rate(), "it has to end some day")
	slowed := p.slowed.Load()
	require.Equal(t, int64(21), slowed)
	for range 20 {
		p.window(p.rate()/4, 0)
	}
	require.False(t, p.gentle())
	require.Zero(t, p.rate(), "the reads are gone, and the pace is not what holds the work back")
	require.Equal(t, slowed, p.slowed.Load())
}

// TestPaceKnowsTheIdleLatency: what reads take beside background work is not what they take without it, neither for another job that begins
// meanwhile nor for the next one.
func TestPaceKnowsTheIdleLatency(t *testing.T) {
	p := newPaced(0)
	p.read(100 * time.Microsecond)
	p.begin()
	idle := p.mu.idle
	require.NotZero(t, idle)
	p.read(10 * time.Millisecond)
	p.begin()
	require.Equal(t, idle, p.mu.idle, "one runs already")
	p.end()
	p.read(10 * time.Millisecond)
	p.end()
	p.begin()
	require.Equal(t, idle, p.mu.idle, "those were beside the work")
	require.False(t, p.gentle(), "nobody has read since")
}

func TestPaceKeepsToItsLimit(t *testing.T) {
	const limit = 40 << 20
	p := newPaced(limit)
	p.read(100 * time.Microsecond)
	p.begin()
	require.Equal(t, int64(limit), p.rate())
	p.window(limit, time.Millisecond)
	require.Less(t, p.rate(), int64(limit))
	for range 50 {
		p.window(p.rate(), 0)
	}
	require.Equal(t, int64(limit), p.rate())
	p.now = p.now.Add(time.Minute)
	d, _ := p.charge(limit)
	require.Zero(t, d)
	d, _ = p.charge(1)
	require.InDelta(t, time.Second, d, float64(time.Millisecond), "a second's worth was taken")
}

// TestPaceIsEvenBesideReads: what nobody suffers from may come in bursts; beside reads no transfer finds several others of compaction
// before it.
func TestPaceIsEvenBesideReads(t *testing.T) {
	for _, reads := range []bool{false, true} {
		p := newPaced(firstPace)
		if reads {
			p.read(100 * time.Microsecond)
		}
		p.begin()
		atOnce := 0
		for {
			if d, most := p.charge(backgroundTransfer); d >= most {
				break
			}
			atOnce++
		}
		if reads {
			require.Equal(t, 1, atOnce)
		} else {
			require.Greater(t, atOnce, 5)
		}
	}
}
