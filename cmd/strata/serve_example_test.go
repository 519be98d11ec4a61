package main

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/internal/sample"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pageserver/client"
	"github.com/stratapg/strata/pageserver/pagestream"
)

// TestServeExample does what the two lines in serve's help say, with a cluster and a port that are here, and reads a page from
// what then listens.
func TestServeExample(t *testing.T) {
	var help, errs bytes.Buffer
	require.Zero(t, run(t.Context(), []string{"serve", "--help"}, &help, &errs))
	_, example, found := strings.Cut(help.String(), "Examples:\n")
	require.True(t, found, help.String())
	example, _, _ = strings.Cut(example, "\n\n")
	lines := strings.Split(strings.TrimSpace(example), "\n")
	require.Len(t, lines, 2)

	s, err := sample.Open("../../testdata/sample")
	require.NoError(t, err)
	work := t.TempDir()
	cluster := filepath.Join(work, "cluster")
	require.NoError(t, s.ExtractCluster(cluster))
	t.Chdir(work) // where the store is by default
	words := func(line, old, here string) []string {
		require.Contains(t, line, old)
		w := strings.Fields(strings.Replace(line, old, here, 1))
		require.Equal(t, "strata", w[0])
		return w[1:]
	}
	code := run(t.Context(), words(lines[0], "/var/lib/postgresql/15/main", cluster), io.Discard, &errs)
	require.Zero(t, code, errs.String())

	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	out, told := io.Pipe()
	ended := make(chan int, 1)
	go func() {
		ended <- run(ctx, words(lines[1], ":64000", ":0"), io.Discard, told)
		told.Close()
	}()
	var addr, tenant, timeline string
	for said := bufio.NewScanner(out); addr == "" && said.Scan(); {
		w := strings.Fields(said.Text())
		switch {
		case len(w) > 4 && w[1] == "tenant":
			tenant, timeline = w[2], w[4]
		case len(w) > 3 && w[1] == "listening":
			addr = w[3]
		}
	}
	require.NotEmpty(t, addr)
	go func() { _, _ = io.Copy(io.Discard, out) }()
	tenantID, err := page.ParseTenantID(tenant)
	require.NoError(t, err)
	timelineID, err := page.ParseTimelineID(timeline)
	require.NoError(t, err)
	c, err := client.Dial(t.Context(), addr, client.Options{})
	require.NoError(t, err)
	st, err := c.Stream(tenantID, timelineID, pagestream.V3)
	require.NoError(t, err)
	a, err := st.Ask(pagestream.Request{Kind: pagestream.RelationSize, LSN: pagestream.Latest, Rel: page.RelTag{Spc: 1663, DB: 5, Rel: 1259}})
	require.NoError(t, err)
	require.Positive(t, a.Blocks)
	require.NoError(t, c.Close())
	stop()
	require.Zero(t, <-ended)
}
