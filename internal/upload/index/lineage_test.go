package index

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/page"
)

// TestLineage: Neon's own form is read and written, and what says the same stays as it was.
func TestLineage(t *testing.T) {
	const neon = `{"reparenting_history":["e45a7f37d3ee2ff17dc14bf4f4e3f52e"],"original_ancestor":["e2bfd8c633d713d279e6fcd2bcc15b6d","0/15A7618","2024-05-07T18:52:36.322426563"]}`
	p := New()
	p.Rest[fieldLineage] = json.RawMessage(neon)
	l, err := p.Lineage()
	require.NoError(t, err)
	require.Equal(t, "e2bfd8c633d713d279e6fcd2bcc15b6d", l.Original.String())
	require.EqualValues(t, 0x15A7618, l.OriginalLSN)
	require.Equal(t, time.Date(2024, 5, 7, 18, 52, 36, 322426563, time.UTC), l.DetachedAt)
	require.Len(t, l.Former, 1)
	require.False(t, l.Truncated)
	q := New()
	require.NoError(t, q.SetLineage(l))
	require.JSONEq(t, neon, string(q.Rest[fieldLineage]))
	p.Rest[fieldLineage] = json.RawMessage(" " + neon)
	require.NoError(t, p.SetLineage(l))
	require.Equal(t, " "+neon, string(p.Rest[fieldLineage]), "as it was written")
	l.Former, l.Truncated = append(l.Former, page.TimelineID{7}), true
	require.NoError(t, p.SetLineage(l))
	again, err := p.Lineage()
	require.NoError(t, err)
	require.Equal(t, l, again)

	for _, bad := range []string{`7`, `{"original_ancestor":["e2bfd8c633d713d279e6fcd2bcc15b6d","0/15A7618"]}`,
		`{"original_ancestor":["e2bfd8c633d713d279e6fcd2bcc15b6d","0/0","2024-05-07T18:52:36"]}`,
		`{"original_ancestor":["x","0/15A7618","2024-05-07T18:52:36"]}`, `{"reparenting_history":["x"]}`} {
		p.Rest[fieldLineage] = json.RawMessage(bad)
		_, err := p.Lineage()
		require.Error(t, err, bad)
	}
}

// TestDetaching: the reason comes and goes, and others stay.
func TestDetaching(t *testing.T) {
	p, at := New(), time.Date(2026, 1, 2, 3, 4, 5, 6000, time.UTC)
	require.NoError(t, p.SetDetaching(false, at))
	require.NotContains(t, p.Rest, fieldGCBlocking)
	require.NoError(t, p.SetDetaching(true, at))
	require.JSONEq(t, `{"started_at":"2026-01-02T03:04:05.000006","reasons":["DetachAncestor"]}`, string(p.Rest[fieldGCBlocking]))
	on, err := p.Detaching()
	require.NoError(t, err)
	require.True(t, on)
	require.NoError(t, p.SetDetaching(false, at))
	require.NotContains(t, p.Rest, fieldGCBlocking)

	const manual = `{"started_at":"2024-07-19T09:00:00.123","reasons":["Manual"]}`
	p.Rest[fieldGCBlocking] = json.RawMessage(manual)
	require.NoError(t, p.SetDetaching(true, at))
	require.JSONEq(t, `{"started_at":"2024-07-19T09:00:00.123","reasons":["Manual","DetachAncestor"]}`, string(p.Rest[fieldGCBlocking]))
	require.NoError(t, p.SetDetaching(false, at))
	require.JSONEq(t, manual, string(p.Rest[fieldGCBlocking]))
	p.Rest[fieldGCBlocking] = json.RawMessage(`[]`)
	_, err = p.Detaching()
	require.Error(t, err)
	require.Error(t, p.SetDetaching(true, at))
}
