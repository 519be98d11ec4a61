package chooser

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/walredo"
	"github.com/stratapg/strata/walredo/native"
	"github.com/stratapg/strata/walredo/walredotest"
)

// fake stands for a pool: native redo that knows resource managers which native does not, and notes what it is asked.
type fake struct {
	walredo.Redoer
	asked  [][]page.LSN
	change func([]byte)
	err    error
	closed bool
}

// custom is a resource manager of an extension. In the tests it is the heap's under another number.
const custom, rmgrAt, heap = 200, 17, 10

func (f *fake) Redo(ctx context.Context, dst []byte, req *walredo.Request) ([]byte, error) {
	lsns := []page.LSN{}
	known := *req
	known.Records = slices.Clone(req.Records)
	for i := range known.Records {
		r := &known.Records[i]
		lsns = append(lsns, r.LSN)
		if r.Value.Kind == page.KindPostgres && r.Value.Bytes[rmgrAt] == custom {
			r.Value.Bytes = bytes.Clone(r.Value.Bytes)
			r.Value.Bytes[rmgrAt] = heap
		}
	}
	f.asked = append(f.asked, lsns)
	if f.err != nil {
		return dst, f.err
	}
	n := len(dst)
	out, err := f.Redoer.Redo(ctx, dst, &known)
	if err == nil && f.change != nil {
		f.change(out[n:])
	}
	return out, err
}

func (f *fake) Close() error { f.closed = true; return nil }

// mixed is the longer request with some of its records of a resource manager that native does not know.
func mixed(t *testing.T, at ...int) (*walredo.Request, []byte) {
	req := walredotest.Requests(t)["medium"]
	req.Records = req.Records[:20] // without the image that ends it
	want, err := native.New().Redo(context.Background(), nil, req)
	require.NoError(t, err)
	for _, i := range at {
		r := &req.Records[i]
		r.Value.Bytes = bytes.Clone(r.Value.Bytes)
		r.Value.Bytes[rmgrAt] = custom
	}
	return req, want
}

func TestRuns(t *testing.T) {
	ctx := context.Background()
	for _, c := range []struct {
		custom []int
		asked  []int // lengths of what the pool is asked
	}{
		{nil, nil}, {[]int{0}, []int{1}}, {[]int{19}, []int{1}}, {[]int{3, 4, 5}, []int{3}}, {[]int{0, 7, 8, 19}, []int{1, 2, 1}},
		{[]int{1, 3, 5, 7}, []int{1, 1, 1, 1}},
	} {
		req, want := mixed(t, c.custom...)
		f := &fake{Redoer: native.New()}
		r := New(native.New(), f, NativeFirst)
		got, err := r.Redo(ctx, []byte("x"), req)
		require.NoError(t, err)
		require.Equal(t, append([]byte("x"), want...), got)
		var lengths []int
		for _, a := range f.asked {
			lengths = append(lengths, len(a))
		}
		require.Equal(t, c.asked, lengths)
		require.EqualValues(t, len(c.asked), r.Metrics().Pool)
		require.NoError(t, r.Close())
		require.True(t, f.closed)
	}
}

// TestImageStartsOver shows that an image belongs to whoever has the records around it.
func TestImageStartsOver(t *testing.T) {
	req, want := mixed(t, 18, 19)
	half, err := native.New().Redo(context.Background(), nil, &walredo.Request{
		Key: req.Key, Version: req.Version, Flavour: req.Flavour, Records: req.Records[:18]})
	require.NoError(t, err)
	image := walredo.Record{LSN: req.Records[17].LSN, Value: page.Value{Kind: page.KindImage, Bytes: half}}
	req.Records = []walredo.Record{image, req.Records[18], req.Records[19]}
	f := &fake{Redoer: native.New()}
	got, err := New(native.New(), f, NativeFirst).Redo(context.Background(), nil, req)
	require.NoError(t, err)
	require.Equal(t, want, got)
	require.Len(t, f.asked, 1)
}

func TestPoolFirst(t *testing.T) {
	ctx := context.Background()
	req, want := mixed(t, 3)
	f := &fake{Redoer: native.New()}
	r := New(native.New(), f, PoolFirst)
	got, err := r.Redo(ctx, nil, req)
	require.NoError(t, err)
	require.Equal(t, want, got)
	require.Len(t, f.asked, 1)
	require.Zero(t, r.Metrics().Native)

	clog := &walredo.Request{Key: page.Clog.Block(0, 0), Version: req.Version, Base: make([]byte, 8192)}
	_, err = r.Redo(ctx, nil, clog)
	require.NoError(t, err)
	require.Len(t, f.asked, 1, "no process knows commit logs")
}

func TestVerify(t *testing.T) {
	ctx := context.Background()
	req, want := mixed(t, 3)
	f := &fake{Redoer: native.New()}
	r := New(native.New(), f, Verify)
	got, err := r.Redo(ctx, nil, req)
	require.NoError(t, err)
	require.Equal(t, want, got)

	plain, want := mixed(t)
	for name, c := range map[string]struct {
		change func([]byte)
		err    error
		ok     bool
	}{
		"equal":     {ok: true},
		"free byte": {change: func(p []byte) { p[3000] ^= 1 }, ok: true},
		"tuple":     {change: func(p []byte) { p[8191-40] ^= 1 }},
		"LSN":       {change: func(p []byte) { p[4] ^= 1 }},
		"failure":   {err: errors.New("no")},
	} {
		f := &fake{Redoer: native.New(), change: c.change, err: c.err}
		r := New(native.New(), f, Verify)
		got, err := r.Redo(ctx, nil, plain)
		require.EqualValues(t, 1, r.Metrics().Compared)
		if c.ok {
			require.NoError(t, err, name)
			require.Equal(t, want, got)
			continue
		}
		require.ErrorIs(t, err, ErrDisagree, name)
		require.EqualValues(t, 1, r.Metrics().Disagreements)
		require.Empty(t, got)
	}
	bad := *plain
	bad.Records = bad.Records[1:]
	_, err = r.Redo(ctx, nil, &bad)
	require.ErrorIs(t, err, walredo.ErrNoBase, "both refuse")
}
