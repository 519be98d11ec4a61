package plot

import (
	"bytes"
	"encoding/xml"
	"io"
	"testing"

	"github.com/stretchr/testify/require"
)

// wellFormed reads a drawing to its end, and counts its elements.
func wellFormed(t *testing.T, svg []byte) map[string]int {
	seen, d := map[string]int{}, xml.NewDecoder(bytes.NewReader(svg))
	for {
		token, err := d.Token()
		if err == io.EOF {
			return seen
		}
		require.NoError(t, err)
		if s, ok := token.(xml.StartElement); ok {
			seen[s.Name.Local]++
			for _, a := range s.Attr {
				require.NotContains(t, a.Value, "NaN")
				require.NotContains(t, a.Value, "Inf")
			}
		}
	}
}

func TestDrawings(t *testing.T) {
	line := Line{"a < b & c", []Point{{0, 0}, {1, 12345}, {2, 7}}}
	for _, c := range []Chart{{}, {Title: "none", Lines: []Line{{Name: "empty"}}}, {Title: "t", X: "x", Y: "y", Lines: []Line{line, line}}, {Lines: []Line{line}, Ticks: []Tick{{3, "99 %"}}}} {
		one, two := wellFormed(t, SVG(c)), wellFormed(t, SVG(c, c))
		require.Equal(t, 1, one["svg"])
		require.Equal(t, 2*one["text"], two["text"])
		require.Equal(t, SVG(c), SVG(c))
	}
	seen := wellFormed(t, Bars("<ratios>", []Bar{{"one", 0.9, 1, 1.1, 0}, {"worse", 0, 0.1, 0.2, -1}, {"better", 3, 40, 50, 1}}))
	require.Equal(t, 3, seen["circle"])
	require.Equal(t, 1, wellFormed(t, Bars("nothing", nil))["svg"])
}

func TestShort(t *testing.T) {
	for v, want := range map[float64]string{0: "0", 0.25: "0.25", 999.4: "999", 999.6: "1000", 8821.5: "8822", 9999: "9999", 9999.7: "10k", 12345: "12.3k", 2.5e6: "2.5M"} {
		require.Equal(t, want, Short(v))
	}
	ticks := ticksTo(930)
	require.Equal(t, Tick{0, "0"}, ticks[0])
	require.GreaterOrEqual(t, ticks[len(ticks)-1].At, 930.0)
	require.LessOrEqual(t, len(ticks), 6)
}
