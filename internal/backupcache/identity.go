package backupcache

import (
	"time"

	"golang.org/x/sys/unix"

	"github.com/stratapg/strata/virtualfile"
)

// identity tells a file from every other, and from itself before and after any change. The time of change cannot be set by
// those who write.
type identity struct {
	dev, ino uint64
	size     int64
	modified time.Time
	changed  time.Time
}

// identityOf asks the kernel; nil where there is none to ask.
func identityOf(f virtualfile.File) *identity {
	d, ok := f.(interface{ Fd() uintptr })
	if !ok {
		return nil
	}
	var st unix.Stat_t
	if unix.Fstat(int(d.Fd()), &st) != nil {
		return nil
	}
	return &identity{dev: uint64(st.Dev), ino: st.Ino, size: st.Size, modified: time.Unix(st.Mtim.Unix()), changed: time.Unix(st.Ctim.Unix())}
}
