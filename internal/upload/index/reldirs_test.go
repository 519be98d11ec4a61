package index_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/internal/upload/index"
	"github.com/stratapg/strata/page"
)

// TestRelDirs reads Neon's fields of relations' own keys, and writes them so that nothing else changes.
func TestRelDirs(t *testing.T) {
	for _, c := range []struct {
		fields string
		want   page.RelDirs
	}{
		{``, page.RelDirs{}},
		{`,"rel_size_migration":"legacy"`, page.RelDirs{}},
		{`,"rel_size_migration":"legacy","rel_size_migrated_at":"0/16960E8"`, page.RelDirs{}},
		{`,"rel_size_migration":null,"rel_size_migrated_at":null`, page.RelDirs{}},
		{`,"rel_size_migrated_at":"0/16960E8"`, page.RelDirs{}},
		{`,"rel_size_migration":"migrating","rel_size_migrated_at":"0/16960E8"`, page.RelDirs{Form: page.RelDirBoth, Since: 0x16960E8}},
		{`,"rel_size_migration":"migrated","rel_size_migrated_at":"1/8"`, page.RelDirs{Form: page.RelDirV2, Since: 1<<32 | 8}},
		{`,"rel_size_migration":"migrated"`, page.RelDirs{Form: page.RelDirV2}},
	} {
		doc := strings.TrimSuffix(sample, "}") + c.fields + "}"
		p, err := index.Parse([]byte(doc))
		require.NoError(t, err)
		got, err := p.RelDirs()
		require.NoError(t, err)
		require.Equal(t, c.want, got, c.fields)
		p.SetRelDirs(got)
		b, err := p.Encode()
		require.NoError(t, err)
		require.JSONEq(t, doc, string(b), "what is known already is written as it was read")
		for _, d := range []page.RelDirs{{Form: page.RelDirV2, Since: 0x16960E8}, {Form: page.RelDirBoth, Since: 8}, {}} {
			p.SetRelDirs(d)
			b, err := p.Encode()
			require.NoError(t, err)
			q, err := index.Parse(b)
			require.NoError(t, err)
			got, err := q.RelDirs()
			require.NoError(t, err)
			require.Equal(t, d, got)
			require.Equal(t, d == page.RelDirs{Form: page.RelDirV2, Since: 0x16960E8},
				strings.Contains(string(b), `"rel_size_migrated_at":"0/16960E8","rel_size_migration":"migrated"`), "as Neon writes it: %s", b)
		}
	}
	for _, fields := range []string{`,"rel_size_migration":"v3"`, `,"rel_size_migration":2`, `,"rel_size_migrated_at":7`} {
		p, err := index.Parse([]byte(strings.TrimSuffix(sample, "}") + fields + "}"))
		require.NoError(t, err)
		_, err = p.RelDirs()
		require.ErrorContains(t, err, "rel_size_migrat")
	}
}
