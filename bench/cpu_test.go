package bench

import (
	"testing"
	"time"

	"github.com/stratapg/strata/bench/workload"
)

// cpuTime is the processor time used since it was started, by all threads, in the kernel too: what stays
// the same when others use the machine.
type cpuTime struct{ start time.Duration }

func startCPU() cpuTime { return cpuTime{usedCPU()} }

// usedCPU is 0 where the system does not say.
func usedCPU() time.Duration { return workload.UsedCPU() }

// report gives MB/s of wall time, and of processor time.
func (c cpuTime) report(b *testing.B, bytes int64) {
	b.ReportMetric(float64(bytes)/1e6/b.Elapsed().Seconds(), "MB/s")
	b.ReportMetric(float64(bytes)/1e6/(usedCPU()-c.start).Seconds(), "MB/cpu-s")
}
