package basebackup

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"strings"
	"unicode/utf8"

	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
)

// manifestPath is where a backup lists its files with their checksums (backup/backup_manifest.c). Those of pg_wal are left
// out, as PostgreSQL leaves them out: WAL has checksums of its own.
const manifestPath = "backup_manifest"

// manifestTime is how a manifest writes times, which are of UTC.
const manifestTime = "2006-01-02 15:04:05 GMT"

// manifest gathers the list as files are written. It takes some 150 bytes a file.
type manifest struct {
	time  string
	files strings.Builder
	n     int
	name  string // of the file being written, "" if it is not listed
	size  int64
	crc   uint32
}

func (m *manifest) begin(name string, size int64) {
	m.name, m.size, m.crc = name, size, 0
	if strings.HasPrefix(name, walDir) || name == manifestPath {
		m.name = ""
	}
}

func (m *manifest) write(p []byte) {
	if m.name != "" {
		m.crc = crc32.Update(m.crc, castagnoli, p)
	}
}

func (m *manifest) end() {
	if m.name == "" {
		return
	}
	if m.n++; m.n > 1 {
		m.files.WriteString(",\n")
	}
	path := fmt.Sprintf("\"Encoded-Path\": %q", hex.EncodeToString([]byte(m.name)))
	if utf8.ValidString(m.name) {
		quoted, _ := json.Marshal(m.name) // a string cannot fail
		path = "\"Path\": " + string(quoted)
	}
	fmt.Fprintf(&m.files, "{ %s, \"Size\": %d, \"Last-Modified\": %q, \"Checksum-Algorithm\": \"CRC32C\", \"Checksum\": \"%x\" }",
		path, m.size, m.time, binary.LittleEndian.AppendUint32(nil, m.crc))
}

// manifestEnd is what a manifest says beside the files.
type manifestEnd struct {
	version    pg.Version
	systemID   uint64
	tli        uint32
	start, end page.LSN // of the WAL that the backup needs
}

// encode gives the manifest: version 2, which names the cluster, from PostgreSQL 17 on.
func (m *manifest) encode(e manifestEnd) []byte {
	var s strings.Builder
	if e.version >= pg.V17 {
		fmt.Fprintf(&s, "{ \"PostgreSQL-Backup-Manifest-Version\": 2,\n\"System-Identifier\": %d,\n", e.systemID)
	} else {
		s.WriteString("{ \"PostgreSQL-Backup-Manifest-Version\": 1,\n")
	}
	fmt.Fprintf(&s, "\"Files\": [\n%s\n],\n", m.files.String())
	fmt.Fprintf(&s, "\"WAL-Ranges\": [\n{ \"Timeline\": %d, \"Start-LSN\": \"%s\", \"End-LSN\": \"%s\" }\n],\n", e.tli, e.start, e.end)
	sum := sha256.Sum256([]byte(s.String()))
	fmt.Fprintf(&s, "\"Manifest-Checksum\": \"%x\"}\n", sum)
	return []byte(s.String())
}

func (b *backup) writeManifest() error {
	m := b.out.manifest
	if m == nil {
		return nil
	}
	return b.out.file(manifestPath, m.encode(manifestEnd{version: b.o.Version, systemID: b.control.SystemID(), tli: b.tli,
		start: b.label.start, end: b.walEnd}))
}
