package timeline

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"path/filepath"

	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/virtualfile"
)

// generationFile, in a timeline's folder, says in which generation this very disk was last known to hold what remote storage
// holds, or more: when the timeline was made or attached, and then whenever its index was read. An index of a higher
// generation is another writer's: what is on this disk may be less than what that one has promised to have. It is text,
//
//	generation 7 crc32c 89abcdef
//
// with the checksum of what comes before its word. A store without remote storage has no such file.
const (
	generationFile    = "GENERATION"
	maxGenerationSize = 64
)

func encodeGeneration(g uint32) []byte {
	text := fmt.Sprintf("generation %d ", g)
	return fmt.Appendf(nil, "%scrc32c %08x\n", text, crc32.Checksum([]byte(text), crc32.MakeTable(crc32.Castagnoli)))
}

func decodeGeneration(b []byte) (uint32, error) {
	var g, sum uint32
	if _, err := fmt.Sscanf(string(b), "generation %d crc32c %x", &g, &sum); err != nil || string(encodeGeneration(g)) != string(b) {
		return 0, fmt.Errorf("%w: %.*q", ErrCorrupt, maxGenerationSize, b)
	}
	return g, nil
}

// writeGeneration notes that a timeline's folder is as good as remote storage now.
func (e *Env) writeGeneration(dir string, tenant page.TenantShardID) error {
	if e.uploads == nil {
		return nil
	}
	return virtualfile.WriteFileAtomic(e.FS, filepath.Join(dir, generationFile), encodeGeneration(e.Generation(tenant)))
}

// readGeneration gives the note, 0 if there is none.
func (t *Timeline) readGeneration() (uint32, error) {
	path := filepath.Join(t.dir, generationFile)
	b, err := virtualfile.ReadFile(t.env.FS, path, maxGenerationSize)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	g, err := decodeGeneration(b)
	if err != nil {
		return 0, fmt.Errorf("%s: %w; detach the timeline, and attach it from remote storage", path, err)
	}
	return g, nil
}
