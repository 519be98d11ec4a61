package record

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// TestTable puts what differs in its last number alone into columns, and says what the results are of and what disturbed them.
func TestTable(t *testing.T) {
	var all []Line
	for _, name := range []string{"Stack/std/depth=1", "Stack/std/depth=8", "Stack/uring/depth=8", "Scan/std", "Queue/inprogress=3"} {
		l := line(name, true, 1, 2, 3, 2)
		l.Machine = Machine{OS: "linux/amd64", Kernel: "6", CPU: "Abacus", CPUs: 3, Disk: "/dev/sand", FileSystem: "ext9", Go: "go2"}
		l.Commit, l.Flags = "abc", []string{"--profile=tiny"}
		all = append(all, l)
	}
	all[3].Metrics[0].Values = []float64{2}
	all[0].Warnings, all[3].Warnings = []string{"it rained"}, []string{"it rained"}
	require.Equal(t, "Of 5 workloads, on 3 processors Abacus, frequency governor unknown; kernel 6, linux/amd64; ext9 on /dev/sand; go2; commit abc; "+
		"`bench run --profile=tiny`. Medians, with half of the distance between the quartiles, or of how few rounds they are.\n"+`
| Stack | metric | depth=1 | depth=8 |
|---|---|---|---|
| std | pages/s | 2 ± 25 % | 2 ± 25 % |
| uring | pages/s |  | 2 ± 25 % |

| Scan | metric |  |
|---|---|---|
| std | pages/s | 2 of 1 |

| Queue | metric | inprogress=3 |
|---|---|---|
|  | pages/s | 2 ± 25 % |

Disturbed: `+"`Stack/std/depth=1` (it rained), `Scan/std` (it rained).\n", string(Table(all)))
}

func TestEmbed(t *testing.T) {
	doc := "# One\n" + beginMark + "old\n" + endMark + "two\n"
	got, err := Embed([]byte(doc), []byte("new\n"))
	require.NoError(t, err)
	require.Equal(t, "# One\n"+beginMark+"new\n"+endMark+"two\n", string(got))
	again, err := Embed(got, []byte("new\n"))
	require.NoError(t, err)
	require.Equal(t, got, again)
	for _, bad := range []string{"", beginMark, endMark + beginMark, doc + doc} {
		_, err := Embed([]byte(bad), nil)
		require.ErrorContains(t, err, "mark")
	}
}
