package ingest

import (
	"path"
	"slices"
	"strings"

	"github.com/stratapg/strata/ingest/source"
)

// listing is what a source has, sorted by path.
type listing []source.Entry

func (l listing) find(name string) (source.Entry, bool) {
	i, ok := slices.BinarySearchFunc(l, name, func(e source.Entry, name string) int { return strings.Compare(e.Path, name) })
	if !ok {
		return source.Entry{}, false
	}
	return l[i], true
}

func (l listing) has(name string) bool { _, ok := l.find(name); return ok }

// in gives the entries of a folder, not those below them; ok is false if there is neither the folder nor anything in
// it.
func (l listing) in(folder string) (out []source.Entry, ok bool) {
	prefix := folder + "/"
	i, _ := slices.BinarySearchFunc(l, prefix, func(e source.Entry, name string) int { return strings.Compare(e.Path, name) })
	seen := ""
	for ; i < len(l) && strings.HasPrefix(l[i].Path, prefix); i++ {
		ok = true
		name, rest, below := strings.Cut(l[i].Path[len(prefix):], "/")
		if !below {
			out = append(out, l[i])
			seen = name
		} else if rest != "" && name != seen { // an object store has no folders
			out = append(out, source.Entry{Path: prefix + name, Kind: source.Folder})
			seen = name
		}
	}
	return out, ok || l.has(folder)
}

// keep gives the entries that are wanted, in memory of their own.
func (l listing) keep(wanted func(source.Entry) bool) listing {
	var out listing
	for _, e := range l {
		if wanted(e) {
			out = append(out, e)
		}
	}
	return out
}

// isSmall says which files are read when the import is planned or run, and are none of relations or SLRUs.
func (d *DataDir) isSmall(name string) bool {
	return path.Base(name) == relMapName || name == controlName || name == originsName || slices.Contains(configFiles, name) ||
		slices.ContainsFunc([]string{"pg_wal", "pg_twophase", slotsDir, "pg_logical", "pg_stat"}, func(dir string) bool { return strings.HasPrefix(name, dir+"/") })
}
