package tenant

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/stratapg/strata/internal/timeline"
	"github.com/stratapg/strata/internal/upload"
	"github.com/stratapg/strata/internal/upload/index"
	"github.com/stratapg/strata/layer"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/virtualfile"
)

// The folder of a timeline that is being imported has a file IMPORT, which says what it is to become and which jobs are done:
//
//	strata import
//	timeline 0f…0f "main"
//	begun 2026-11-21T10:00:00Z
//	plan 81d0…3f 24
//	job 0 relations 120 pages 16384
//	layer 000000…-000000…__00000000016B3748-v1-00000001 4194304 checked
//	away 000000…-000000…__00000000016B3748-v1-00000001 89abcdef01234567
//	suspect 00000006…
//	job 2 relations 0 pages 16384
//	indexed
//	file IMPORT.0.tar 123456 89abcdef01234567
//	crc32c 89abcdef
//
// The plan is its digest and the number of its jobs, "plan - 0" until it is made. What follows a job are the layers that it
// made, by their names and sizes, those of them that are in remote storage only, "away", or there too, "up", with the XXH64 of their
// bytes, and the pages whose checksum was wrong. At the end it says whether remote storage has an index of the import, and which files
// beside the layers it has.
const (
	importFileName = timeline.ImportFilePrefix
	importMagic    = "strata import"
	maxImportFile  = 256 << 20
	maxImportJobs  = 16 << 20
)

// importFile is what the file says.
type importFile struct {
	id     page.TimelineID
	name   string
	begun  time.Time
	digest string
	jobs   int
	done   map[int]ImportedJob
	away   map[string]uint64 // of layers that are in remote storage only, by the names of their files, the checksums
	up     map[string]uint64 // of layers that are in remote storage too, and named by the index there
	// indexed says that remote storage has an index of the import, files which files beside the layers it has.
	indexed bool
	files   []index.ImportFile
}

// inRemote says whether remote storage has anything of the import.
func (f *importFile) inRemote() bool { return f.indexed || len(f.away) > 0 }

// isRemote says whether remote storage has a layer.
func (f *importFile) isRemote(d layer.Desc) bool { return f.sumOf(d) != 0 }

// sumOf is the checksum of a layer that remote storage has, else 0.
func (f *importFile) sumOf(d layer.Desc) uint64 {
	return cmp.Or(f.away[d.FileName()], f.up[d.FileName()])
}

func (f *importFile) hasFile(name string) bool {
	return slices.ContainsFunc(f.files, func(x index.ImportFile) bool { return x.Name == name })
}

// undo has a job be done again.
func (f *importFile) undo(n int) {
	for _, d := range f.done[n].layers {
		delete(f.away, d.FileName())
		delete(f.up, d.FileName())
	}
	delete(f.done, n)
}

// noteSum puts a checksum.
func noteSum(sums map[string]uint64, name string, sum uint64) map[string]uint64 {
	if sums == nil {
		sums = map[string]uint64{}
	}
	sums[name] = sum
	return sums
}

// ImportedJob is what a job took and made.
type ImportedJob struct {
	Relations, Pages int64
	// Suspect are pages whose checksum was wrong, of a base backup that its WAL makes whole.
	Suspect []page.Key

	layers []layer.Desc
}

func (f *importFile) encode() []byte {
	var b bytes.Buffer
	plan := f.digest
	if plan == "" {
		plan = "-"
	}
	fmt.Fprintf(&b, "%s\ntimeline %s %q\nbegun %s\nplan %s %d\n", importMagic, f.id, f.name, f.begun.UTC().Format(time.RFC3339), plan, f.jobs)
	for n := range f.jobs {
		j, ok := f.done[n]
		if !ok {
			continue
		}
		fmt.Fprintf(&b, "job %d relations %d pages %d\n", n, j.Relations, j.Pages)
		for _, d := range j.layers {
			fmt.Fprintf(&b, "layer %s %d %s\n", d.FileName(), d.Size, checkedWord(d.Checked))
			if sum, ok := f.away[d.FileName()]; ok {
				fmt.Fprintf(&b, "away %s %016x\n", d.FileName(), sum)
			} else if sum, ok := f.up[d.FileName()]; ok {
				fmt.Fprintf(&b, "up %s %016x\n", d.FileName(), sum)
			}
		}
		for _, k := range j.Suspect {
			fmt.Fprintf(&b, "suspect %s\n", k)
		}
	}
	if f.indexed {
		fmt.Fprintln(&b, indexedWord)
	}
	for _, x := range f.files {
		fmt.Fprintf(&b, "file %s %d %016x\n", x.Name, x.Size, uint64(x.Sum))
	}
	return sealText(b.String())
}

// noteAway says that a layer is in remote storage only.
func (f *importFile) noteAway(d layer.Desc, sum uint64) {
	f.away = noteSum(f.away, d.FileName(), sum)
	delete(f.up, d.FileName())
}

func checkedWord(checked bool) string {
	if checked {
		return "checked"
	}
	return "unchecked"
}

func decodeImportFile(b []byte) (*importFile, error) {
	bad := func(line string) (*importFile, error) {
		return nil, fmt.Errorf("%w: line %.100q", ErrCorruptStoreFile, line)
	}
	text := string(b)
	at := strings.LastIndex(text, "crc32c ")
	if at < 0 || string(sealText(text[:at])) != text {
		return nil, fmt.Errorf("%w: its checksum does not fit", ErrCorruptStoreFile)
	}
	f := &importFile{done: map[int]ImportedJob{}}
	var id, begun string
	rest, ok := strings.CutPrefix(text[:at], importMagic+"\n")
	head, body, ok2 := cutLines(rest, 3)
	if !ok || !ok2 {
		return bad(rest)
	}
	if _, err := fmt.Sscanf(head[0], "timeline %s %q", &id, &f.name); err != nil {
		return bad(head[0])
	}
	var err error
	if f.id, err = page.ParseTimelineID(id); err != nil {
		return bad(head[0])
	}
	if _, err := fmt.Sscanf(head[1], "begun %s", &begun); err != nil {
		return bad(head[1])
	}
	if f.begun, err = time.Parse(time.RFC3339, begun); err != nil {
		return bad(head[1])
	}
	if _, err := fmt.Sscanf(head[2], "plan %s %d", &f.digest, &f.jobs); err != nil || f.jobs < 0 || f.jobs > maxImportJobs {
		return bad(head[2])
	}
	if f.digest == "-" {
		f.digest = ""
	}
	if line, err := f.decodeJobs(body); err != nil {
		return bad(line)
	}
	return f, nil
}

// cutLines gives the first n lines of a text.
func cutLines(text string, n int) (lines []string, rest string, ok bool) {
	for range n {
		line, after, found := strings.Cut(text, "\n")
		if !found {
			return nil, "", false
		}
		lines, text = append(lines, line), after
	}
	return lines, text, true
}

var errLine = errors.New("no line of an import")

// decodeJobs reads the lines of jobs; with an error it gives the line.
func (f *importFile) decodeJobs(text string) (string, error) {
	n := -1
	var job ImportedJob
	for text != "" {
		line, rest, found := strings.Cut(text, "\n")
		if !found {
			return line, errLine
		}
		text = rest
		words := strings.Fields(line)
		switch {
		case len(words) == 6 && words[0] == "job" && words[2] == "relations" && words[4] == "pages":
			number, err1 := strconv.Atoi(words[1])
			relations, err2 := strconv.ParseInt(words[3], 10, 64)
			pages, err3 := strconv.ParseInt(words[5], 10, 64)
			if errors.Join(err1, err2, err3) != nil || number <= n || number >= f.jobs {
				return line, errLine
			}
			n, job = number, ImportedJob{Relations: relations, Pages: pages}
		case n >= 0 && len(words) == 4 && words[0] == "layer":
			kind, d := layer.Classify(words[1])
			size, err := strconv.ParseInt(words[2], 10, 64)
			if kind != layer.NameLayer || err != nil || size <= 0 {
				return line, errLine
			}
			d.Size, d.Checked = size, words[3] == checkedWord(true)
			job.layers = append(job.layers, d)
		case n >= 0 && len(words) == 3 && (words[0] == "away" || words[0] == "up") && len(job.layers) > 0 && job.layers[len(job.layers)-1].FileName() == words[1]:
			sum, err := strconv.ParseUint(words[2], 16, 64)
			if err != nil || sum == 0 {
				return line, errLine
			}
			if words[0] == "up" {
				f.up = noteSum(f.up, words[1], sum)
			} else {
				f.noteAway(job.layers[len(job.layers)-1], sum)
			}
		case n >= 0 && len(words) == 2 && words[0] == "suspect":
			var k page.Key
			if err := k.UnmarshalText([]byte(words[1])); err != nil {
				return line, errLine
			}
			job.Suspect = append(job.Suspect, k)
		case !f.indexed && line == indexedWord:
			f.indexed = true
			continue
		case len(words) == 4 && words[0] == "file":
			x, err := parseImportObject(words)
			if err != nil {
				return line, err
			}
			f.files = append(f.files, x)
			continue
		default:
			return line, errLine
		}
		f.done[n] = job
	}
	return "", nil
}

// indexedWord says that remote storage has an index of the import.
const indexedWord = "indexed"

// parseImportObject reads the line of a file beside the layers.
func parseImportObject(words []string) (x index.ImportFile, err error) {
	size, err1 := strconv.ParseInt(words[2], 10, 64)
	sum, err2 := strconv.ParseUint(words[3], 16, 64)
	plain := strings.HasPrefix(words[1], upload.ImportPrefix) && filepath.Base(words[1]) == words[1] && !strings.HasSuffix(words[1], virtualfile.TempSuffix)
	if err1 != nil || err2 != nil || size < 0 || !plain {
		return x, errLine
	}
	return index.ImportFile{Name: words[1], Size: size, Sum: index.Sum(sum)}, nil
}

func (s *Store) readImport(dir string) (*importFile, error) {
	path := filepath.Join(dir, importFileName)
	b, err := virtualfile.ReadFile(s.fs, path, maxImportFile)
	if err != nil {
		return nil, err
	}
	f, err := decodeImportFile(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return f, nil
}

func (s *Store) writeImport(dir string, f *importFile) error {
	return virtualfile.WriteFileAtomic(s.fs, filepath.Join(dir, importFileName), f.encode())
}

// openImport notes an import that was not finished. Where its file is not there, or damaged, nobody knows what it was to
// become: it is of no use.
func (t *Tenant) openImport(path, idText string) error {
	s := t.store
	id, err := page.ParseTimelineID(idText)
	if err != nil || id.String() != idText {
		s.setAside(path, "no timeline's folder")
		return nil
	}
	switch t.records[id].word {
	case wordDeleting:
		return nil
	case wordDetached: // and its folder was to go
		return s.dropUnfinished(path)
	}
	f, err := s.readImport(path)
	if err == nil && f.id != id {
		err = fmt.Errorf("%w: it is that of timeline %s", ErrCorruptStoreFile, f.id)
	}
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, ErrCorruptStoreFile) {
		return s.dropUnfinished(path)
	}
	if err != nil {
		return err
	}
	t.mu.slots[id] = &slot{record: record{id: id, name: f.name}, known: true, state: Importing, files: newImporting(t, path, f)}
	return nil
}
