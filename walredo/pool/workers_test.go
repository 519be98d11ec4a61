package pool

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/pg"
	"github.com/stratapg/strata/walredo"
)

func TestWorkers(t *testing.T) {
	w, err := External("/opt/neon/v{pg}/bin/postgres  --wal-redo --x={flavour}", "A=b")
	require.NoError(t, err)
	c, err := w.Command(walredo.Kind{Version: pg.V16, Flavour: pg.Neon})
	require.NoError(t, err)
	require.Equal(t, Command{Path: "/opt/neon/v16/bin/postgres", Args: []string{"--wal-redo", "--x=neon"}, Env: []string{"A=b"}}, c)
	for _, line := range []string{"", " ", "postgres --wal-redo"} {
		_, err := External(line)
		require.Error(t, err, "%q", line)
	}
	c, err = Native("/bin/strata").Command(walredo.Kind{Version: pg.V15, Checksums: true})
	require.NoError(t, err)
	require.Equal(t, []string{"redo-worker", "--pg", "15", "--flavour", "stock", "--report-failures", "--checksums"}, c.Args)
	_, err = Native("/bin/strata").Command(walredo.Kind{Version: 9})
	require.ErrorIs(t, err, walredo.ErrUnsupported)
}
