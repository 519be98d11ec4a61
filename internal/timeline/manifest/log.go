package manifest

import (
	"errors"
	"fmt"
	"path/filepath"
	"sync"

	"github.com/stratapg/strata/layer"
	"github.com/stratapg/strata/virtualfile"
)

// maxFileSize bounds what is read into memory: some ten million layers.
const maxFileSize = 1 << 30

// DefaultMinRewrite is the least size of edits that is worth a rewriting.
const DefaultMinRewrite = 64 << 10

// Log is an open manifest.
type Log struct {
	mu   sync.RWMutex // for Remote: guards changes of live
	fs   virtualfile.FS
	path string
	// file takes the next edit. It is nil, and the next edit makes the whole file anew, where it is not known
	// what of the file is durable: at first, and after a failed write or sync.
	file       virtualfile.File
	whole      bool // file is nil, and all that is in the file is durable
	writable   bool
	version    uint32
	live       *live
	seq        uint64
	stateSize  int64
	editSize   int64
	minRewrite int64
}

// Torn says where a manifest ended in an edit that was not whole; Bytes is 0 if it did not.
type Torn struct{ Offset, Bytes int64 }

// Published says what a Publish wrote.
type Published struct {
	Bytes     int64
	Rewritten bool
}

// Create writes the manifest of a new timeline into dir, durably. None may be there.
func Create(fs virtualfile.FS, dir string, s State) error {
	if err := CheckName(s.Name); err != nil {
		return err
	}
	b := encodeFile(&s, 1)
	if _, err := decodeFile(b); err != nil {
		return fmt.Errorf("manifest of a new timeline: %w", err)
	}
	return virtualfile.WriteFileAtomic(fs, filepath.Join(dir, FileName), b)
}

// Open reads the manifest in dir and changes nothing. What it says need not be durable, and for all that is
// known never will be by a sync of the same file: who goes on writing calls Renew first.
func Open(fs virtualfile.FS, dir string, writable bool, minRewrite int64) (*Log, Torn, error) {
	l := &Log{fs: fs, path: filepath.Join(dir, FileName), writable: writable, minRewrite: minRewrite}
	b, err := virtualfile.ReadFile(fs, l.path, maxFileSize)
	if err != nil {
		return nil, Torn{}, err
	}
	d, err := decodeFile(b)
	if err != nil {
		return nil, Torn{}, fmt.Errorf("%s: %w", l.path, err)
	}
	l.version, l.live, l.seq, l.stateSize, l.editSize = d.version, d.live, d.seq, d.stateSize, d.good-d.stateSize
	return l, Torn{d.good, int64(len(b)) - d.good}, nil
}

// Renew makes what was read durable, by writing it anew. A process before this one may have died between an
// edit and its sync; or the sync failed, and the kernel, which has forgotten that it wrote nothing, would call
// the next one a success. Without Renew what was read counts as durable, as in a file just made by Create.
func (l *Log) Renew() error {
	_, err := l.rewrite(&Edit{}, l.live.layers)
	return err
}

// State gives a copy of what the manifest says.
func (l *Log) State() State { return l.live.state() }

// Meta gives what of the state is no list.
func (l *Log) Meta() Meta { return l.live.Meta }

// Layers gives the layers of the state, without copying them.
func (l *Log) Layers() *layer.Map { return l.live.layers }

// Remote gives what is known of a layer that remote storage has. Alone of all methods it may be called from other goroutines.
func (l *Log) Remote(d layer.Desc) (r Remote, ok bool) {
	f := remoteOf(&d)
	l.mu.RLock()
	defer l.mu.RUnlock()
	f, ok = l.live.remote.Find(&f)
	return Remote{d, f.sum, f.shard}, ok
}

// Path is the file's name.
func (l *Log) Path() string { return l.path }

// Publish makes e part of the manifest, durably, or fails and leaves the state as it was. A failed edit may
// come to life again after a crash, so what it names must stay in place, and the next edit has to include
// or supersede it.
func (l *Log) Publish(e *Edit) (p Published, err error) {
	layers, err := l.live.check(e)
	if err != nil {
		return p, fmt.Errorf("%s: %w", l.path, err)
	}
	b := appendEdit(nil, typeChange, l.seq+1, func(b []byte) []byte { return appendChange(b, e) })
	if l.file == nil && l.whole {
		// Only now: a timeline that nothing happens to has no file open. Where this fails the edit is a rewriting.
		if f, err := l.fs.OpenAppend(l.path); err == nil {
			l.file = f
		}
	}
	if e.Descent != nil || l.file == nil || l.version < neededAfter(&l.live.State, e) || l.editSize+int64(len(b))+sealSize > max(l.stateSize, l.minRewrite) {
		return l.rewrite(e, layers)
	}
	err = virtualfile.WriteAll(l.file, b)
	if err == nil {
		err = l.file.Sync()
	}
	if err != nil {
		return p, fmt.Errorf("%s: %w", l.path, errors.Join(err, l.abandon()))
	}
	l.mu.Lock()
	l.live.apply(e, layers)
	l.mu.Unlock()
	l.seq++
	l.editSize += int64(len(b))
	return Published{Bytes: int64(len(b)) + l.seal()}, nil
}

// sealSize is the length of an edit without items.
const sealSize = editHeaderSize

// seal appends an edit that changes nothing behind one that is durable, and gives its length. A reader that
// finds the edit before it broken then knows that no crash did that. Without a seal all is right but that
// knowledge: where it cannot be written, the next edit writes the file anew.
func (l *Log) seal() int64 {
	b := appendEdit(nil, typeChange, l.seq+1, func(b []byte) []byte { return b })
	err := virtualfile.WriteAll(l.file, b)
	if err == nil {
		err = l.file.Sync()
	}
	if err != nil {
		_ = l.abandon() // what was published is durable, and the file is not used again
		return 0
	}
	l.seq++
	l.editSize += sealSize
	return sealSize
}

// rewrite replaces the file by one that holds the state after e alone. layers are those after it.
func (l *Log) rewrite(e *Edit, layers *layer.Map) (p Published, err error) {
	if !l.writable {
		return p, fmt.Errorf("%s: open for reading only", l.path)
	}
	if err := l.abandon(); err != nil {
		return p, err
	}
	next := l.live.clone()
	next.apply(e, layers)
	s := next.state()
	b := encodeFile(&s, l.seq+1)
	if err := virtualfile.WriteFileAtomic(l.fs, l.path, b); err != nil {
		return p, fmt.Errorf("%s: %w", l.path, err)
	}
	l.mu.Lock()
	l.live = next
	l.mu.Unlock()
	l.version, l.stateSize, l.editSize = neededBy(&s, len(s.Remote), len(s.Chains)), int64(len(b)), 0
	l.seq++
	l.whole = true
	return Published{Bytes: int64(len(b)), Rewritten: true}, nil
}

// abandon closes the file, so that the next edit rewrites it.
func (l *Log) abandon() error {
	l.whole = false
	if l.file == nil {
		return nil
	}
	f := l.file
	l.file = nil
	return f.Close()
}

// Close closes the file. It may be called twice.
func (l *Log) Close() error { return l.abandon() }
