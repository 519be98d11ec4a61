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
	gone     bool // no name is left
}

// still says whether a file that was like that is unchanged, as it is now. To lose its name is a change of the file, too, but not
// of its content, whose own time tells.
func (i identity) still(now *identity) bool {
	if now == nil {
		return false
	}
	if now.gone {
		i.changed, i.gone = now.changed, true
	}
	return *now == i
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
	return &identity{dev: uint64(st.Dev), ino: st.Ino, size: st.Size, modified: time.Unix(st.Mtim.Unix()), changed: time.Unix(st.Ctim.Unix()), gone: st.Nlink == 0}
}
