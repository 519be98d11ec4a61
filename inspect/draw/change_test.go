package draw

import (
	"bytes"
	"encoding/xml"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/page"
)

func TestChangeShowsWhatGoesAndComes(t *testing.T) {
	p := example()
	c := Change{Title: "a < b", Before: p.Layers[:3], After: p.Layers[1:], Marks: p.Marks,
		Planned: []Outline{{Keys: page.FullRange, LSNs: page.LSNRange{Start: 0x101, End: 0x401}, Label: "merge & fold"}}}
	var b bytes.Buffer
	require.NoError(t, c.SVG(&b))
	s := b.String()
	for class, n := range map[string]int{`class="image gone"`: 1, `class="delta new"`: 1, `class="image"`: 2, `class="l0"`: 2, `class="planned"`: 1, `class="mark"`: 2} {
		want := n
		if strings.HasPrefix(class, `class="image"`) || class == `class="l0"` {
			want += 2 // the legends'
		}
		if class == `class="image"` {
			want = 4 // one stays, seen twice; and the legends'
		}
		require.Equal(t, want, strings.Count(s, class), class)
	}
	require.Contains(t, s, "merge &amp; fold")
	require.Contains(t, s, "viewBox=\"0 0 960 1120\"")
	d := xml.NewDecoder(strings.NewReader(s))
	for {
		_, err := d.Token()
		if err == io.EOF {
			break
		}
		require.NoError(t, err)
	}
}
