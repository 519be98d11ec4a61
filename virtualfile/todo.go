package virtualfile

func NewOS() FS      { panic("skeleton") }
func NewMem() *MemFS { panic("skeleton") }

// MemFS is a file system in memory that can crash.
type MemFS struct{ FS }

// CrashClone gives what a crash would leave.
func (m *MemFS) CrashClone(seed uint64) *MemFS                 { panic("skeleton") }
func WriteFileAtomic(fs FS, name string, data []byte) error    { panic("skeleton") }
func ReadFile(fs FS, name string, limit int64) ([]byte, error) { panic("skeleton") }
