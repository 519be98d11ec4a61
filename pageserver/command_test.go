package pageserver

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/page"
)

// FuzzCommand: a query is refused, or a command whose ids and LSNs are whole.
func FuzzCommand(f *testing.F) {
	ids := page.TenantID{1}.String() + " " + page.TimelineID{2}.String()
	for _, s := range []string{"pagestream_v3 " + ids, "PAGESTREAM_V2 " + ids + ";", "basebackup " + ids + " 0/16B3748 --gzip --replica", "basebackup " + ids + " -", "fullbackup " + ids + " 0/8 0/8",
		"lease lsn " + page.TenantID{1}.String() + "-0102 " + page.TimelineID{2}.String() + " 0/8", "lease lsn", "set x", "", ";", "lease \x00 "} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, query string) {
		c, err := parseCommand(query)
		require.Equal(t, err != nil, c == nil)
		switch c := c.(type) {
		case leaseCommand:
			require.Less(t, c.shard.Shard.Number, max(c.shard.Shard.Count, 1))
		case streamCommand:
			require.Contains(t, []int{2, 3}, int(c.version))
		}
	})
}
