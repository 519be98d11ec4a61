package upload

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"strings"

	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/virtualfile"
)

// Lists of deletions on the disk are JSON in the form of Neon's (pageserver/src/deletion_queue.rs):
//
//	{"version":1,"sequence":7,"tenants":{"<tenant and shard>":{"timelines":{"<timeline>":["<layer>-0000000a"]},"generation":10}},"size":1}
//
// Nothing depends on them but space in the remote: one that cannot be written or read is a warning.
const (
	listVersion = 1
	listSuffix  = "-01.list"
	maxListSize = 64 << 20
	seqDigits   = 16
)

type listFile struct {
	Version  int                    `json:"version"`
	Sequence uint64                 `json:"sequence"`
	Tenants  map[string]*listTenant `json:"tenants"`
	Size     int                    `json:"size"`
}

type listTenant struct {
	Timelines  map[page.TimelineID][]string `json:"timelines"`
	Generation uint32                       `json:"generation"`
}

// leftover is what a list of a former process has of one timeline.
type leftover struct {
	file    *oldList
	objects []Object
}

// oldList is a list that goes when all that it has was taken up.
type oldList struct {
	name   string
	places int
}

// writeList gives the list's file, empty if it could not be written.
func (d *Deletions) writeList(list []*doomed) (file string) {
	d.mu.Lock()
	d.mu.next++
	l := listFile{Version: listVersion, Sequence: d.mu.next, Tenants: map[string]*listTenant{}}
	for _, x := range list {
		if x.kept {
			continue
		}
		name := x.place.Tenant.String() + x.place.Shard
		t := l.Tenants[name]
		if t == nil {
			t = &listTenant{Timelines: map[page.TimelineID][]string{}}
			l.Tenants[name] = t
		}
		t.Generation = max(t.Generation, x.generation)
		t.Timelines[x.place.Timeline] = append(t.Timelines[x.place.Timeline], x.object.key())
		l.Size++
	}
	d.mu.Unlock()
	file = path.Join(d.c.Dir, fmt.Sprintf("%0*x%s", seqDigits, l.Sequence, listSuffix))
	b, err := json.Marshal(l)
	if err == nil {
		err = d.makeDir()
	}
	if err == nil {
		err = virtualfile.WriteFileAtomic(d.c.FS, file, b)
	}
	if err != nil {
		d.c.Logger.Warn("a list of deletions could not be written; its objects may stay if the process ends before they are deleted", "file", file, "err", err)
		return ""
	}
	return file
}

// makeDir makes the folder of the lists, once and durably: else a crash takes it with all that is in it.
func (d *Deletions) makeDir() error {
	d.mu.Lock()
	made := d.mu.made
	d.mu.Unlock()
	if made {
		return nil
	}
	if err := virtualfile.DurableMkdirAll(d.c.FS, path.Dir(d.c.Dir), d.c.Dir); err != nil {
		return err
	}
	d.mu.Lock()
	d.mu.made = true
	d.mu.Unlock()
	return nil
}

func (d *Deletions) removeList(file string) {
	if file == "" {
		return
	}
	if err := d.c.FS.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
		d.c.Logger.Warn("a list of deletions that is done cannot be removed", "file", file, "err", err)
	}
}

// readLists finds what a former process has left.
func (d *Deletions) readLists() error {
	names, err := d.c.FS.List(d.c.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, name := range names {
		digits, ok := strings.CutSuffix(name, listSuffix)
		seq, err := strconv.ParseUint(digits, 16, 64)
		if !ok || err != nil {
			continue
		}
		d.mu.next = max(d.mu.next, seq)
		if err := d.readList(path.Join(d.c.Dir, name)); err != nil {
			d.c.Logger.Warn("a list of deletions cannot be read; its objects may stay", "file", name, "err", err)
		}
	}
	return nil
}

func (d *Deletions) readList(file string) error {
	b, err := virtualfile.ReadFile(d.c.FS, file, maxListSize)
	if err != nil {
		return err
	}
	var l listFile
	if err := json.Unmarshal(b, &l); err != nil {
		return err
	}
	if l.Version != listVersion {
		return fmt.Errorf("version %d: want %d", l.Version, listVersion)
	}
	old := &oldList{name: file}
	for name, t := range l.Tenants {
		id, shard, sharded := strings.Cut(name, "-")
		tenant, err := page.ParseTenantID(id)
		if err != nil || t == nil {
			return errors.Join(err, fmt.Errorf("tenant %.80q", name))
		}
		p := Place{Tenant: tenant}
		if sharded {
			p.Shard = "-" + shard
		}
		for p.Timeline = range t.Timelines {
			var objects []Object
			for _, key := range t.Timelines[p.Timeline] {
				objects = append(objects, objectNamed(key))
			}
			d.mu.left[p] = append(d.mu.left[p], leftover{old, objects})
			old.places++
		}
	}
	if old.places == 0 {
		d.removeList(file)
	}
	return nil
}

// Resume takes up what a former process was to delete of a timeline. The caller is its writer, with a generation, has read the
// newest index, and says which objects are named by it or will be by the next.
func (d *Deletions) Resume(p Place, generation uint32, named func(Object) bool) {
	d.mu.Lock()
	left := d.mu.left[p]
	delete(d.mu.left, p)
	d.mu.Unlock()
	for _, l := range left {
		objects := make([]Object, 0, len(l.objects))
		for _, o := range l.objects {
			if !named(o) && o.Generation <= generation {
				objects = append(objects, o)
			}
		}
		d.Delete(p, generation, objects)
	}
	for _, l := range left {
		d.mu.Lock()
		l.file.places--
		last := l.file.places == 0
		d.mu.Unlock()
		if last {
			d.removeList(l.file.name)
		}
	}
}
