package record

import (
	"bytes"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func line(name string, more bool, values ...float64) Line {
	return Line{Name: name, Machine: Describe(".", "direct-rw"), Metrics: []Metric{{"pages/s", more, values}}}
}

// TestCompare tells what changed from what is noise, and better from worse.
func TestCompare(t *testing.T) {
	steady := []float64{100, 101, 102, 99, 98, 100, 101, 99}
	half := make([]float64, len(steady))
	for i, v := range steady {
		half[i] = v / 2
	}
	for _, c := range []struct {
		more   bool
		old    []float64
		new    []float64
		better int
		at     float64
	}{{true, steady, half, -1, 0.5}, {false, steady, half, 1, 0.5}, {true, half, steady, 1, 2}, {true, steady, steady, 0, 1}, {true, steady[:1], half[:1], 0, 0.5}} {
		all := Compare([]Line{line("a", c.more, c.old...), line("gone", true, 1)}, []Line{line("a", c.more, c.new...), line("new", true, 1)})
		require.Len(t, all, 1)
		r := all[0]
		require.Equal(t, c.better, r.Better)
		require.InDelta(t, c.at, r.At, 1e-9)
		require.LessOrEqual(t, r.Low, r.At)
		require.GreaterOrEqual(t, r.High, r.At)
		var b bytes.Buffer
		require.NoError(t, WriteTable(&b, all))
		require.Contains(t, b.String(), "pages/s")
		require.Contains(t, string(Draw("x", all)), "</svg>")
	}
	other := line("a", true, 1)
	other.Check = "7"
	require.Contains(t, Compare([]Line{line("a", true, 1)}, []Line{other})[0].Warnings, "the data differ")
}

func TestReadAndWrite(t *testing.T) {
	var b bytes.Buffer
	for _, l := range []Line{line("a", true, 1, 2), line("b", true, 3), line("a", true, 4)} {
		require.NoError(t, l.Write(&b))
	}
	text := b.String()
	all, err := Read(&b)
	require.NoError(t, err)
	require.Len(t, all, 2)
	require.Equal(t, []float64{1, 2, 4}, all[0].Metrics[0].Values)
	median, noise := all[0].Metrics[0].Quartiles()
	require.Equal(t, 2.0, median)
	require.Equal(t, 1.5, noise)
	for says, bad := range map[string]string{"line 1": "{", "version 9": `{"version":9}`, "other metrics": text + strings.Replace(text, "pages/s", "ns", 1)} {
		_, err := Read(strings.NewReader(bad))
		require.ErrorContains(t, err, says)
	}
}

func TestWatch(t *testing.T) {
	w := NewWatch()
	w.busy, w.begin, w.mhz = 1, now()-hundredth, 1
	if busyTime() == 0 || clockRate() == 0 {
		return // the system does not tell
	}
	require.Len(t, w.Warnings(), 2)
}
