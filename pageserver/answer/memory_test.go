package answer

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// TestMemoryLimits: whatever is taken and released in whatever order, no more is in use than may be, what is ahead of its turn never
// waits and never takes what is for others, and in the end nothing is in use.
func TestMemoryLimits(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		limit := rapid.Int64Range(2, 100).Draw(t, "limit")
		m := NewMemory(limit, time.Hour)
		none, cancel := context.WithCancel(context.Background())
		cancel() // who would have to wait is told so at once
		var held []*Hold
		var turn, ahead int64
		for range rapid.IntRange(1, 50).Draw(t, "steps") {
			n := rapid.Int64Range(1, limit/2).Draw(t, "bytes")
			switch rapid.IntRange(0, 2).Draw(t, "step") {
			case 0:
				h, err := m.Take(none, n)
				require.Equal(t, turn+n <= limit/2, err == nil)
				if err == nil {
					turn += n
					held = append(held, &h)
					h.Sending(func() { t.Error("nobody is late") })
				}
			case 1:
				h, ok := m.TakeAhead(n)
				require.Equal(t, ahead+n <= limit/2, ok)
				if ok {
					ahead += n
					held = append(held, &h)
				}
			default:
				if len(held) == 0 {
					continue
				}
				i := rapid.IntRange(0, len(held)-1).Draw(t, "which")
				h := held[i]
				if h.ahead {
					ahead -= h.bytes
				} else {
					turn -= h.bytes
				}
				h.Release()
				h.Release() // of what is released nothing is left
				held = append(held[:i], held[i+1:]...)
			}
			require.Equal(t, turn+ahead, m.Metrics().Used)
			require.LessOrEqual(t, m.Metrics().Used, limit)
		}
		for _, h := range held {
			h.Release()
		}
		require.Zero(t, m.Metrics().Used)
		require.Zero(t, m.sending.Len())
	})
}

// TestMemoryDropsTheSlowest: of those that are being sent the one that is so for longest is cut off, once somebody has waited.
func TestMemoryDropsTheSlowest(t *testing.T) {
	m := NewMemory(20, 10*time.Millisecond)
	var holds [2]Hold
	dropped := make(chan int, 2)
	for i := range holds {
		var err error
		holds[i], err = m.Take(t.Context(), 5)
		require.NoError(t, err)
		holds[i].Sending(func() {
			dropped <- i
			holds[i].Release() // as a write does that fails
		})
	}
	reading, err := m.Take(t.Context(), 0)
	require.NoError(t, err)
	got, err := m.Take(t.Context(), 5)
	require.NoError(t, err)
	require.Zero(t, <-dropped, "the first")
	require.Positive(t, m.Metrics().Dropped)
	require.EqualValues(t, 1, m.Metrics().Waits)
	for _, h := range []*Hold{&holds[1], &reading, &got} {
		h.Release()
	}
	require.Zero(t, m.Metrics().Used)
}
