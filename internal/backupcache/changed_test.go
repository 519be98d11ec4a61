package backupcache_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// changedAt gives a file's time of change.
func changedAt(t *testing.T, name string) [2]int64 {
	t.Helper()
	var st unix.Stat_t
	require.NoError(t, unix.Stat(name, &st))
	sec, nsec := st.Ctim.Unix()
	return [2]int64{sec, nsec}
}
