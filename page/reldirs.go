package page

import "fmt"

// RelDirForm is how a timeline says which relations there are. What Neon calls rel_size_v2 is RelDirV2; sizes are kept in
// the same way in all of them.
type RelDirForm uint8

// The forms. Neon's names of them, which String gives, tell how far a timeline has come from the first to the last.
const (
	// RelDirV1 has one value with all relations of a database.
	RelDirV1 RelDirForm = iota
	// RelDirBoth has that, and a key of its own for each relation too. The former decides.
	RelDirBoth
	// RelDirV2 has a key for each relation alone.
	RelDirV2
)

var relDirForms = [...]string{RelDirV1: "legacy", RelDirBoth: "migrating", RelDirV2: "migrated"}

// String gives Neon's name.
func (f RelDirForm) String() string {
	if f.Known() {
		return relDirForms[f]
	}
	return fmt.Sprintf("form %d", uint8(f))
}

// From says why a timeline that lists relations in the form old cannot do so in the form f: it takes one step at a time, and none
// back. RelDirV1 from RelDirV1, and RelDirBoth from RelDirBoth, change nothing and are no error.
func (f RelDirForm) From(old RelDirForm) error {
	switch {
	case !f.Known():
		return fmt.Errorf("there is no %s", f)
	case f < old:
		return fmt.Errorf("they are %s, and there is no way back to %s: what that reads is not all kept up to date", old, f)
	case f > old+1:
		return fmt.Errorf("they are %s: ask for %s first, and for %s once that is done", old, old+1, f)
	}
	return nil
}

// UnmarshalText reads Neon's name.
func (f *RelDirForm) UnmarshalText(b []byte) (err error) {
	*f, err = ParseRelDirForm(string(b))
	return err
}

// MarshalText gives Neon's name.
func (f RelDirForm) MarshalText() ([]byte, error) { return []byte(f.String()), nil }

// Known says whether there is such a form.
func (f RelDirForm) Known() bool { return int(f) < len(relDirForms) }

// ParseRelDirForm reads Neon's name.
func ParseRelDirForm(s string) (RelDirForm, error) {
	for f, name := range relDirForms {
		if s == name {
			return RelDirForm(f), nil
		}
	}
	return 0, fmt.Errorf("directories of relations are %q: want legacy, migrating or migrated", s)
}

// RelDirs is the form of a timeline's directories of relations. Below Since they are read as RelDirV1, whatever the form: the
// values of databases were written and believed until then. So one LSN is enough for a timeline that has gone from RelDirV1 to
// RelDirBoth and on to RelDirV2.
type RelDirs struct {
	Form  RelDirForm
	Since LSN
}

// At gives the form as of which relations are looked up at lsn.
func (d RelDirs) At(lsn LSN) RelDirForm {
	if lsn < d.Since {
		return RelDirV1
	}
	return d.Form
}

// Of gives what a branch at lsn has: it begins with RelDirV1 where lsn is below Since.
func (d RelDirs) Of(lsn LSN) RelDirs {
	if d.At(lsn) == RelDirV1 {
		return RelDirs{}
	}
	return d
}

// RelEntry is the key that says of r alone whether it exists: RelDirV2 and RelDirBoth have it. The value is RelEntryExists, or empty
// where r was dropped.
func (r RelTag) RelEntry() Key {
	return Key{F1: prefixRelDirV2, F2: r.Spc, F3: r.DB, F4: r.Rel, F5: uint8(r.Fork), F6: relEntryBlock}
}

const (
	relEntryBlock = 1 // F6 of every RelEntry
	// RelEntryExists is the value of a relation's own key while the relation exists.
	RelEntryExists = "r"
)

// RelEntries spans the relations' own keys of a database.
func RelEntries(spc, db uint32) Range {
	return Range{Key{F1: prefixRelDirV2, F2: spc, F3: db}, Key{F1: prefixRelDirV2, F2: spc, F3: db, F4: 0xFFFFFFFF, F5: 0xFF, F6: 0xFFFFFFFF}}
}

// RelEntryRange spans the relations' own keys of all databases.
var RelEntryRange = Range{Key{F1: prefixRelDirV2}, Key{F1: prefixRelDirV2 + 1}}

// RelEntry decodes a relation's own key; ok is false for any other key.
func (k Key) RelEntry() (r RelTag, ok bool) {
	if k.F1 != prefixRelDirV2 || k.F4 == 0 || k.F6 != relEntryBlock {
		return RelTag{}, false
	}
	return RelTag{Spc: k.F2, DB: k.F3, Rel: k.F4, Fork: Fork(k.F5)}, true
}
