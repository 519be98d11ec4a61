package basebackup

import "fmt"

// Format says for whom a backup is.
type Format int

const (
	// FormatFull is for a stock server, which starts from it by itself.
	FormatFull Format = iota
	// FormatCompute is for a Neon compute, which asks for the pages of relations when it needs them: everything else
	// of the cluster, and a signal file that says where the record before the LSN begins.
	FormatCompute
	// FormatStandby is for a stock server that follows the one that the WAL is from: pages as of the LSN, and a
	// backup_label that names the last checkpoint of that server at or below it. The WAL from that checkpoint on comes
	// from the server; replaying it up to the LSN changes nothing, and the standby goes on from there.
	FormatStandby
)

var formatNames = [...]string{"full", "compute", "standby"}

// String gives the name that ParseFormat takes.
func (f Format) String() string {
	if f >= 0 && int(f) < len(formatNames) {
		return formatNames[f]
	}
	return fmt.Sprintf("format %d", int(f))
}

// ParseFormat understands full, compute and standby.
func ParseFormat(s string) (Format, error) {
	for i, n := range formatNames {
		if s == n {
			return Format(i), nil
		}
	}
	return 0, fmt.Errorf("format %q: want full, compute or standby", s)
}

// stages are what a backup does, in order. It plans everything that can be planned, so that most of what may be wrong
// is found before the first byte is written, and then writes: what makes the server start comes last.
func (b *backup) stages() []func() error {
	switch b.o.Format {
	case FormatCompute:
		return []func() error{
			b.findRecord, b.planCompute, b.planSLRUs, b.planRelations,
			b.writeComputeFrame, b.writeHistories, b.writeSLRUs, b.writeDatabases, b.writeComputeAux, b.writeTwoPhase,
			b.writeOrigins, b.writeSignals, b.writeControl, b.writeWAL, b.out.close,
		}
	case FormatStandby:
		return []func() error{
			b.findRecord, b.planStandby, b.planStandbyWAL, b.planSLRUs, b.planRelations,
			b.writeLabel, b.writeFrame, b.writeClusterFiles, b.writeHistories, b.writeAuxFiles, b.writeOrigins,
			b.writeTwoPhase, b.writeTablespaces, b.writeSLRUs, b.writeDatabases, b.writeStandbyWAL, b.writeStandbySignal,
			b.writeControl, b.out.close,
		}
	}
	return []func() error{
		b.findRecord, b.planControl, b.planSLRUs, b.planRelations, b.planChanges,
		b.writeFullLabel, b.writeFrame, b.writeClusterFiles, b.writeHistories, b.writeAuxFiles, b.writeOrigins,
		b.writeTwoPhase, b.writeTablespaces, b.writeSLRUs, b.writeDatabases,
		b.writeControl, b.writeWAL, b.writeManifest, b.out.close,
	}
}
