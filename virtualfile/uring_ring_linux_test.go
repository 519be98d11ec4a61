package virtualfile

import (
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/internal/testkit"
)

// TestRingOverflow asks for more completions than the queue holds before it takes one: none is lost.
func TestRingOverflow(t *testing.T) {
	r, err := newRing(4, 8)
	if err != nil {
		testkit.Skip(t, err.Error())
	}
	defer func() { require.NoError(t, r.close()) }()
	const asked = 40
	for id := range uint64(asked) {
		e := r.prepare()
		require.NotNil(t, e)
		e.op, e.userData = opNop, id
		require.NoError(t, r.submit(r.publish()))
	}
	got := map[uint64]bool{}
	var to [3]cqe
	for len(got) < asked {
		require.NoError(t, r.wait(0, time.Second))
		n := r.reap(to[:])
		require.Positive(t, n)
		for _, c := range to[:n] {
			require.False(t, got[c.userData], "twice")
			got[c.userData] = true
		}
	}
	require.Zero(t, r.reap(to[:]))
}

// TestRingFull shows that a full ring gives no place until it was submitted, and what can be taken back.
func TestRingFull(t *testing.T) {
	r, err := newRing(4, 8)
	if err != nil {
		testkit.Skip(t, err.Error())
	}
	defer func() { require.NoError(t, r.close()) }()
	for id := range uint64(4) {
		r.prepare().userData = id
	}
	require.Nil(t, r.prepare())
	require.EqualValues(t, 4, r.publish())
	require.NoError(t, r.submit(2))
	require.EqualValues(t, 2, r.publish())
	require.Equal(t, []uint64{2, 3}, r.takeBack())
	require.Zero(t, r.publish())
	require.NotNil(t, r.prepare())
}

// TestSlotTake is about what the kernel answers for a transfer of 4096 bytes.
func TestSlotTake(t *testing.T) {
	no := func(e syscall.Errno) int32 { return -int32(e) }
	for _, c := range []struct {
		name      string
		res       []int32
		abandoned bool
		n         int
		err       error // after the last; the others have to be asked again
		more      bool  // the last too
	}{
		{name: "all", res: []int32{4096}, n: 4096},
		{name: "in two", res: []int32{512, 3584}, n: 4096},
		{name: "the end", res: []int32{512, 0}, n: 512},
		{name: "the end in a sector", res: []int32{512, 7}, n: 519},
		{name: "more", res: []int32{1024}, n: 1024, more: true},
		{name: "interrupted", res: []int32{no(syscall.EINTR), no(syscall.EAGAIN), no(syscall.ECANCELED), 4096}, n: 4096},
		{name: "failed", res: []int32{512, no(syscall.EIO)}, n: 512, err: syscall.EIO},
		{name: "cancelled", res: []int32{no(syscall.ECANCELED)}, abandoned: true, err: syscall.ECANCELED},
		{name: "short and abandoned", res: []int32{512}, abandoned: true, n: 512, err: syscall.ECANCELED},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := slot{request: request{x: &transfer{len: 4096, align: 512}}, abandoned: c.abandoned}
			for i, res := range c.res {
				again, err := s.take(res)
				if i < len(c.res)-1 || c.more {
					require.True(t, again)
					require.NoError(t, err)
					continue
				}
				require.False(t, again)
				require.ErrorIs(t, err, c.err)
			}
			require.Equal(t, c.n, s.x.n)
		})
	}
	s := slot{request: request{x: &transfer{len: 4096, align: 512}}}
	for range maxRetries {
		again, err := s.take(no(syscall.EAGAIN))
		require.True(t, again)
		require.NoError(t, err)
	}
	again, err := s.take(no(syscall.EAGAIN))
	require.False(t, again, "not for ever")
	require.ErrorIs(t, err, syscall.EAGAIN)
}
