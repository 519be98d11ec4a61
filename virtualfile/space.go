package virtualfile

import "errors"

// Space is the room on the disk that a folder is on.
type Space struct {
	// Total is in bytes, and so is Avail: what may still be written.
	Total, Avail int64
}

// spacer is an FS that knows.
type spacer interface {
	space(dir string) (Space, error)
}

// SpaceOf asks a file system for its room, and fails with errors.ErrUnsupported if it does not know.
func SpaceOf(fsys FS, dir string) (Space, error) {
	if s, ok := fsys.(spacer); ok {
		return s.space(dir)
	}
	return Space{}, errors.ErrUnsupported
}

func (s *stickyFS) space(dir string) (Space, error) { return SpaceOf(s.FS, dir) }

func (f *faultFS) space(dir string) (Space, error) { return SpaceOf(f.fs, dir) }

// space gives the capacity that was set; without any there is none to speak of.
func (m *MemFS) space(string) (Space, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if m.mu.capacity == 0 {
		return Space{}, errors.ErrUnsupported
	}
	return Space{Total: m.mu.capacity, Avail: max(m.mu.capacity-m.mu.used, 0)}, nil
}
