package schedule_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"github.com/stratapg/strata/internal/upload/schedule"
)

// TestScript runs testdata/order: what is scheduled, what begins, what ends.
//
//	new limit=N          a new schedule
//	do                   lines of: layer NAME, forget NAME, index, delete NAME, barrier, end OP; after all of them whatever may begin does
func TestScript(t *testing.T) {
	var s *schedule.Schedule
	runs := map[string]schedule.Op{}
	datadriven.RunTest(t, "testdata/order", func(t *testing.T, d *datadriven.TestData) string {
		if d.Cmd == "new" {
			var limit int
			d.ScanArgs(t, "limit", &limit)
			s, runs = schedule.New(limit), map[string]schedule.Op{}
			return ""
		}
		var out strings.Builder
		for line := range strings.Lines(d.Input) {
			word, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
			if err := step(s, runs, word, rest, &out); err != nil {
				fmt.Fprintf(&out, "error: %v\n", err)
			}
			if mark := s.Passed(); mark > 0 {
				fmt.Fprintf(&out, "barrier %d passed\n", mark)
			}
		}
		for op, ok := s.Next(); ok; op, ok = s.Next() {
			name := nameOf(op)
			runs[name] = op
			fmt.Fprintf(&out, "begin %s\n", name)
		}
		fmt.Fprintf(&out, "%+v\n", s.Debt())
		return out.String()
	})
}

func nameOf(op schedule.Op) string {
	if op.Kind == schedule.Index {
		return fmt.Sprintf("index %d", op.Version)
	}
	return op.Kind.String() + " " + strings.Join(op.Names, " ")
}

func step(s *schedule.Schedule, runs map[string]schedule.Op, word, rest string, out *strings.Builder) error {
	switch word {
	case "layer":
		return s.Layer(rest)
	case "forget":
		if s.Forget(rest) {
			fmt.Fprintf(out, "%s dropped\n", rest)
		}
	case "index":
		fmt.Fprintf(out, "index is %d\n", s.Index())
	case "delete":
		s.Delete(rest)
	case "barrier":
		fmt.Fprintf(out, "barrier is %d\n", s.Barrier())
	case "end":
		op, ok := runs[rest]
		if !ok {
			return fmt.Errorf("%s does not run", rest)
		}
		delete(runs, rest)
		s.Done(op)
	default:
		return fmt.Errorf("unknown word %q", word)
	}
	return nil
}

// BenchmarkTenThousand schedules 10,000 layers, each with an index and every second one forgotten and deleted again,
// while nothing can be uploaded, and then lets all of it run.
func BenchmarkTenThousand(b *testing.B) {
	const n = 10_000
	ops := 0
	for b.Loop() {
		s := schedule.New(100)
		for i := range n {
			_ = s.Layer(fmt.Sprint(i))
			s.Index()
			if i%2 == 1 {
				s.Forget(fmt.Sprint(i - 1))
				s.Index()
				s.Delete(fmt.Sprint(i - 1))
			}
		}
		ops = n + n + n/2*3
		var runs []schedule.Op
		for {
			for op, ok := s.Next(); ok; op, ok = s.Next() {
				runs = append(runs, op)
			}
			if len(runs) == 0 {
				break
			}
			s.Done(runs[0])
			runs = runs[1:]
		}
		if !s.Debt().Idle() {
			b.Fatal(s.Debt())
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(ops), "ns/operation")
}
