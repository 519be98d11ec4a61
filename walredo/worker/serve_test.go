package worker

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/pg"
	"github.com/stratapg/strata/walredo"
	"github.com/stratapg/strata/walredo/native"
	"github.com/stratapg/strata/walredo/walredotest"
	"github.com/stratapg/strata/walredo/wire"
)

func kind(r *walredo.Request) walredo.Kind { return r.Kind() }

// encode puts a request on the wire.
func encode(b []byte, r *walredo.Request) []byte {
	rel, block, _ := r.Key.RelBlock()
	b = wire.AppendBegin(b, rel, block)
	if r.Base != nil {
		b = append(wire.AppendPushHead(b, rel, block), r.Base...)
	}
	for _, rec := range r.Records {
		b = append(wire.AppendApplyHead(b, rec.LSN, len(rec.Value.Bytes)), rec.Value.Bytes...)
	}
	return wire.AppendGet(b, rel, block)
}

func TestServe(t *testing.T) {
	ctx := context.Background()
	redo := native.New()
	for name, req := range walredotest.Requests(t) {
		want, err := redo.Redo(ctx, nil, req)
		require.NoError(t, err)
		var in []byte
		for range 3 {
			in = wire.AppendPing(encode(in, req))
		}
		withBase := *req
		withBase.Base, withBase.Records = want, nil
		in = encode(in, &withBase)
		var out bytes.Buffer
		require.NoError(t, Serve(ctx, bytes.NewReader(in), &out, Options{Kind: kind(req), Redoer: redo}))
		zeros := make([]byte, pg.BlockSize)
		require.Equal(t, bytes.Join([][]byte{want, zeros, want, zeros, want, zeros, want}, nil), out.Bytes(), name)
	}
}

// TestAnswersBeforeWaiting shows that a worker has sent every answer when it waits for the next question,
// even in the middle of one.
func TestAnswersBeforeWaiting(t *testing.T) {
	req := walredotest.Requests(t)["short"]
	b := encode(nil, req)
	for _, extra := range []int{0, 3, 30, 500} {
		inR, inW := io.Pipe()
		outR, outW := io.Pipe()
		done := make(chan error, 1)
		go func() {
			done <- Serve(context.Background(), inR, outW, Options{Kind: kind(req), Redoer: native.New()})
		}()
		go func() { _, _ = inW.Write(append(append([]byte{}, b...), b[:extra]...)) }()
		p := make([]byte, pg.BlockSize)
		_, err := io.ReadFull(outR, p)
		require.NoError(t, err)
		require.NoError(t, inW.CloseWithError(io.EOF))
		if err := <-done; extra == 0 {
			require.NoError(t, err)
		} else {
			require.ErrorIs(t, err, wire.ErrProtocol)
		}
	}
}

func TestFailures(t *testing.T) {
	ctx := context.Background()
	req := walredotest.Requests(t)["short"]
	bad := *req
	bad.Records = req.Records[1:] // not will_init
	in := encode(encode(nil, &bad), req)
	var out bytes.Buffer
	o := Options{Kind: kind(req), Redoer: native.New()}
	require.ErrorIs(t, Serve(ctx, bytes.NewReader(in), &out, o), walredo.ErrNoBase)
	require.Empty(t, out.Bytes(), "Neon's form: an exit and no answer")

	o.ReportFailures = true
	require.NoError(t, Serve(ctx, bytes.NewReader(in), &out, o))
	require.Len(t, out.Bytes(), 2*pg.BlockSize)
	f, ok := wire.ParseFailure(out.Bytes()[:pg.BlockSize])
	require.True(t, ok)
	require.Equal(t, wire.CodeNoBase, f.Code)
	require.Equal(t, bad.Records[0].LSN, f.LSN)
	want, err := o.Redoer.Redo(ctx, nil, req)
	require.NoError(t, err)
	require.Equal(t, want, out.Bytes()[pg.BlockSize:], "the next request is unharmed")
}

func TestRefusals(t *testing.T) {
	ctx := context.Background()
	req := walredotest.Requests(t)["short"]
	rel, block, _ := req.Key.RelBlock()
	o := Options{Kind: kind(req), Redoer: native.New(), ReportFailures: true}
	for _, in := range [][]byte{
		wire.AppendGet(nil, rel, block),
		wire.AppendGet(wire.AppendBegin(nil, rel, block), rel, block+1),
		wire.AppendGet(encode(nil, req), rel, block),
		append(wire.AppendApplyHead(nil, 1, 3), "abc"...),
	} {
		require.ErrorIs(t, Serve(ctx, bytes.NewReader(in), io.Discard, o), wire.ErrProtocol)
	}
	o.MaxRequest = 1000
	require.ErrorContains(t, Serve(ctx, bytes.NewReader(encode(nil, req)), io.Discard, o), "more than 1000 bytes")
	o.Kind.Version = 12
	require.ErrorContains(t, Serve(ctx, bytes.NewReader(nil), io.Discard, o), "14 to 17")
	o.Kind.Version = pg.V15
	gone := errors.New("gone")
	require.ErrorIs(t, Serve(ctx, bytes.NewReader(wire.AppendPing(nil)), failing{gone}, o), gone)
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }

// FuzzServe shows that no input makes a worker panic or hang, and that what it answers are whole pages.
func FuzzServe(f *testing.F) {
	for _, req := range walredotest.Requests(f) {
		f.Add(encode(nil, req))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		var out bytes.Buffer
		o := Options{Kind: walredo.Kind{Version: pg.V14, Flavour: pg.Neon}, Redoer: native.New(), ReportFailures: true, MaxRequest: 1 << 20}
		_ = Serve(context.Background(), bytes.NewReader(in), &out, o)
		if out.Len()%pg.BlockSize != 0 {
			t.Fatalf("%d bytes of answers", out.Len())
		}
	})
}

func TestArena(t *testing.T) {
	var a arena
	var all [][]byte
	for round := range 3 {
		a.reset()
		all = all[:0]
		for n := range 300 {
			b := a.get(n * 7 % 40000)
			for i := range b {
				b[i] = byte(n + round)
			}
			all = append(all, b)
		}
		for n, b := range all {
			require.True(t, bytes.Equal(bytes.Repeat([]byte{byte(n + round)}, len(b)), b), "block %d of round %d", n, round)
		}
	}
}
