package record

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Machine is what values are of.
type Machine struct {
	OS         string `json:"os"`
	Kernel     string `json:"kernel"`
	CPU        string `json:"cpu"`
	CPUs       int    `json:"cpus"`
	Governor   string `json:"governor,omitempty"`
	Disk       string `json:"disk,omitempty"`
	FileSystem string `json:"file_system,omitempty"`
	IOMode     string `json:"io_mode"`
	Go         string `json:"go"`
}

// Describe says what is known of this machine, and of the disk of a folder. What the system does not tell is empty.
func Describe(dir, mode string) Machine {
	m := Machine{OS: runtime.GOOS + "/" + runtime.GOARCH, CPUs: runtime.GOMAXPROCS(0), IOMode: mode, Go: runtime.Version()}
	m.Kernel = firstLine("/proc/sys/kernel/osrelease")
	m.CPU = field("/proc/cpuinfo", "model name")
	m.Governor = firstLine("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
	if abs, err := filepath.Abs(dir); err == nil {
		m.Disk, m.FileSystem = mountOf(abs)
	}
	return m
}

func firstLine(name string) string {
	b, err := os.ReadFile(name)
	if err != nil {
		return ""
	}
	line, _, _ := strings.Cut(string(b), "\n")
	return line
}

// field gives the first value of a name in a file of lines "name : value".
func field(file, name string) string {
	b, err := os.ReadFile(file)
	if err != nil {
		return ""
	}
	for _, line := range strings.Split(string(b), "\n") {
		if k, v, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(k) == name {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

// mountOf finds the device and the kind of file system of a path: those of the longest mount point above it.
func mountOf(path string) (device, kind string) {
	b, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return "", ""
	}
	longest := -1
	for _, line := range strings.Split(string(b), "\n") {
		f := strings.Fields(line)
		if len(f) < 3 || len(f[1]) < longest || path != f[1] && !strings.HasPrefix(path, strings.TrimSuffix(f[1], "/")+"/") {
			continue
		}
		device, kind, longest = f[0], f[2], len(f[1])
	}
	return device, kind
}

// Watch sees what disturbs a run from its begin on.
type Watch struct {
	begin, busy, own time.Duration
	mhz              float64
}

// How much is too much.
const (
	othersPart = 0.10 // of the processors' time, by other processes
	clockPart  = 0.10 // that the clock rate changes by
	hundredth  = 10 * time.Millisecond
)

// NewWatch begins to watch.
func NewWatch() *Watch {
	return &Watch{begin: now(), busy: busyTime(), own: ownTime(), mhz: clockRate()}
}

// Warnings say what disturbed the run: other processes that were busy, and a clock rate that changed.
func (w *Watch) Warnings() (out []string) {
	passed := (now() - w.begin) * time.Duration(runtime.NumCPU())
	if others := (busyTime() - w.busy) - (ownTime() - w.own); w.busy > 0 && passed > 0 && float64(others) > othersPart*float64(passed) {
		out = append(out, fmt.Sprintf("other processes used %.0f %% of the processors", 100*float64(others)/float64(passed)))
	}
	if mhz := clockRate(); w.mhz > 0 && mhz > 0 && max(mhz/w.mhz, w.mhz/mhz) > 1+clockPart {
		out = append(out, fmt.Sprintf("the processors' clock rate went from %.0f to %.0f MHz", w.mhz, mhz))
	}
	return out
}

func now() time.Duration { return time.Duration(time.Now().UnixNano()) }

// busyTime is the time that all processes have used of all processors.
func busyTime() (sum time.Duration) {
	f := strings.Fields(firstLine("/proc/stat"))
	for i := 1; i < len(f); i++ {
		const idle, waiting, guest = 4, 5, 9 // guests count as users too
		if n, err := strconv.ParseInt(f[i], 10, 64); err == nil && i != idle && i != waiting && i < guest {
			sum += time.Duration(n) * hundredth
		}
	}
	return sum
}

// ownTime is that of this process and its children that have ended.
func ownTime() (sum time.Duration) {
	for _, who := range []int{unix.RUSAGE_SELF, unix.RUSAGE_CHILDREN} {
		var u unix.Rusage
		if unix.Getrusage(who, &u) == nil {
			sum += time.Duration(u.Utime.Nano() + u.Stime.Nano())
		}
	}
	return sum
}

// clockRate is that of the first processor in MHz, 0 where it is not told.
func clockRate() float64 {
	v, err := strconv.ParseFloat(field("/proc/cpuinfo", "cpu MHz"), 64)
	if err != nil {
		return 0
	}
	return v
}
