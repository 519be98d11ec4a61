package wire

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
	"github.com/stratapg/strata/walredo"
)

var tag = page.RelTag{Spc: 1663, DB: 13010, Rel: 1259, Fork: 1}

func alloc(n int) ([]byte, error) { return make([]byte, n), nil }

// TestBytes pins the bytes of each message, as Neon's worker reads them.
func TestBytes(t *testing.T) {
	for _, c := range []struct {
		want string
		got  []byte
	}{
		{"42 00000015 01 0000067f 000032d2 000004eb 00000007", AppendBegin(nil, tag, 7)},
		{"50 00002015 01 0000067f 000032d2 000004eb 00000007", AppendPushHead(nil, tag, 7)},
		{"41 0000000f 00000000016a9388 616263", append(AppendApplyHead(nil, 0x16A9388, 3), "abc"...)},
		{"47 00000015 01 0000067f 000032d2 000004eb 00000007", AppendGet(nil, tag, 7)},
		{"48 00000004", AppendPing(nil)},
	} {
		require.Equal(t, strings.ReplaceAll(c.want, " ", ""), hex.EncodeToString(c.got))
	}
	// The requests of Neon's benchmark.
	require.EqualValues(t, 1132, RequestSize(false, 2, 874+188))
	require.EqualValues(t, 26393, RequestSize(false, 227, 226*67+8256))
}

// TestDocument reads the bytes that docs/formats/redo-protocol.md gives for an example.
func TestDocument(t *testing.T) {
	doc, err := os.ReadFile("../../docs/formats/redo-protocol.md")
	require.NoError(t, err)
	var b []byte
	for line := range strings.Lines(string(doc)) {
		if part, err := hex.DecodeString(strings.ReplaceAll(strings.TrimSpace(line), " ", "")); err == nil {
			b = append(b, part...)
		}
	}
	r := NewReader(bufio.NewReader(bytes.NewReader(b)))
	var m Message
	require.NoError(t, r.Next(&m, alloc))
	require.Equal(t, Message{Type: Begin, Rel: tag, Block: 7}, m)
	require.NoError(t, r.Next(&m, alloc))
	require.Equal(t, Message{Type: Apply, LSN: 0x16A9388, Bytes: []byte("abc")}, m)
	require.Equal(t, io.EOF, r.Next(&m, alloc))
}

func TestReader(t *testing.T) {
	image := bytes.Repeat([]byte{7}, pg.BlockSize)
	b := AppendBegin(nil, tag, 7)
	b = append(AppendPushHead(b, tag, 7), image...)
	b = append(AppendApplyHead(b, 99, 3), "abc"...)
	b = AppendPing(AppendGet(b, tag, 7))
	require.EqualValues(t, RequestSize(true, 1, 3)+HeaderSize, len(b))
	want := []Message{
		{Type: Begin, Rel: tag, Block: 7}, {Type: Push, Rel: tag, Block: 7, Bytes: image},
		{Type: Apply, LSN: 99, Bytes: []byte("abc")}, {Type: Get, Rel: tag, Block: 7}, {Type: Ping},
	}
	r := NewReader(bufio.NewReader(bytes.NewReader(b)))
	var m Message
	for _, w := range want {
		require.NoError(t, r.Next(&m, alloc))
		require.Equal(t, w, m)
	}
	require.Equal(t, io.EOF, r.Next(&m, alloc))

	for n := range len(b) {
		r := NewReader(bufio.NewReader(bytes.NewReader(b[:n])))
		var err error
		for err == nil {
			err = r.Next(&m, alloc)
		}
		if err != io.EOF {
			require.ErrorIs(t, err, ErrProtocol, "cut at %d", n)
			require.ErrorIs(t, err, io.ErrUnexpectedEOF)
		}
	}
}

func TestReaderRefuses(t *testing.T) {
	var m Message
	for _, b := range []string{"X\x00\x00\x00\x04", "H\x00\x00\x00\x05\x00", "H\x00\x00\x00\x00", "B\x00\x00\x00\x04",
		"P\x00\x00\x00\x15", "A\x00\x00\x00\x0c12345678", "A\xff\xff\xff\xff12345678"} {
		r := NewReader(bufio.NewReader(strings.NewReader(b + strings.Repeat("x", 100))))
		require.ErrorIs(t, r.Next(&m, alloc), ErrProtocol, "%q", b)
	}
	full := errors.New("full")
	r := NewReader(bufio.NewReader(bytes.NewReader(append(AppendApplyHead(nil, 1, 5), "12345"...))))
	require.ErrorIs(t, r.Next(&m, func(int) ([]byte, error) { return nil, full }), full)
}

func TestFailure(t *testing.T) {
	key := tag.Block(7)
	for code, sentinel := range map[Code]error{CodeUnsupported: walredo.ErrUnsupported, CodeCorrupt: walredo.ErrCorrupt, CodeNoBase: walredo.ErrNoBase} {
		f := FailureOf(&walredo.Error{Key: key, LSN: 99, Rmgr: pg.RmHeap, Info: 0x20, Err: fmt.Errorf("%w: because", sentinel)})
		require.Equal(t, code, f.Code)
		p := bytes.Repeat([]byte{1}, AnswerSize)
		f.Put(p)
		got, ok := ParseFailure(p)
		require.True(t, ok)
		require.Equal(t, f, got)
		err := got.Err(key)
		require.ErrorIs(t, err, sentinel)
		require.ErrorContains(t, err, "because")
		require.Equal(t, page.LSN(99), err.LSN)
		require.Equal(t, pg.RmHeap, err.Rmgr)
	}
	f := FailureOf(errors.New(strings.Repeat("x", 10000)))
	p := make([]byte, AnswerSize)
	f.Put(p)
	got, ok := ParseFailure(p)
	require.True(t, ok)
	require.Len(t, got.Text, maxText)
	require.ErrorContains(t, got.Err(key), "xxx")
	_, ok = ParseFailure(make([]byte, AnswerSize))
	require.False(t, ok, "a ping's answer")
	_, ok = ParseFailure(p[:100])
	require.False(t, ok)
}

// FuzzReader shows that no bytes make the reader panic, hang or take more memory than they bring.
func FuzzReader(f *testing.F) {
	f.Add(AppendGet(append(AppendApplyHead(AppendBegin(nil, tag, 1), 5, 3), "abc"...), tag, 1))
	f.Add([]byte("A\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r := NewReader(bufio.NewReader(bytes.NewReader(b)))
		var out []byte
		var m Message
		for {
			err := r.Next(&m, func(n int) ([]byte, error) {
				if n > len(b) {
					return nil, ErrProtocol
				}
				return make([]byte, n), nil
			})
			if err != nil {
				break
			}
			switch m.Type {
			case Begin:
				out = AppendBegin(out, m.Rel, m.Block)
			case Push:
				out = append(AppendPushHead(out, m.Rel, m.Block), m.Bytes...)
			case Apply:
				out = append(AppendApplyHead(out, m.LSN, len(m.Bytes)), m.Bytes...)
			case Get:
				out = AppendGet(out, m.Rel, m.Block)
			case Ping:
				out = AppendPing(out)
			}
		}
		if !bytes.HasPrefix(b, out) {
			t.Fatalf("%x was read as %x", b, out)
		}
	})
}
