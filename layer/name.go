package layer

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/virtualfile"
)

// Identity says whose layers these are. Both stand in every file's summary; only the tenant is checked, as
// files may move between a tenant's timelines.
type Identity struct {
	Tenant   page.TenantID
	Timeline page.TimelineID
}

// Desc describes a layer file. Two descriptions with equal Keys, LSNs and Image are the same layer.
type Desc struct {
	Keys page.Range
	// LSNs of an image at LSN x are [x, x+1).
	LSNs  page.LSNRange
	Image bool
	// Checked says that the file ends in an integrity trailer.
	Checked bool
	// Size is the file's length in bytes, with the trailer; 0 if unknown.
	Size int64
	// Generation counts the writers of a tenant, so that one that was replaced can overwrite nothing.
	Generation uint32
}

// IsL0 reports whether the layer is a delta that spans all keys, as they come from memory.
func (d Desc) IsL0() bool { return !d.Image && d.Keys == page.FullRange }

// same reports whether d and o are the same layer.
func (d *Desc) same(o *Desc) bool {
	return d.Keys == o.Keys && d.LSNs == o.LSNs && d.Image == o.Image
}

// Name gives Neon's LayerName: "<start key>-<end key>__<lsn>" for an image and
// "<start key>-<end key>__<start lsn>-<end lsn>" for a delta, all upper-case hex.
func (d Desc) Name() string {
	s := d.Keys.Start.String() + "-" + d.Keys.End.String() + "__" + d.LSNs.Start.Hex()
	if d.Image {
		return s
	}
	return s + "-" + d.LSNs.End.Hex()
}

// FileName gives the name on the local disk, with the generation.
func (d Desc) FileName() string { return fmt.Sprintf("%s-v1-%08x", d.Name(), d.Generation) }

// String gives the Name.
func (d Desc) String() string { return d.Name() }

const (
	keyDigits        = 2 * page.KeySize
	lsnDigits        = 16
	generationDigits = 8
	keysEnd          = 2*keyDigits + 1 // two keys and a dash
	imageNameLen     = keysEnd + 2 + lsnDigits
	deltaNameLen     = imageNameLen + 1 + lsnDigits
)

// ParseName reads a bare name, a local one ("…-v1-0000000a") or a remote one ("…-0000000a"). It accepts what
// Name and FileName write and nothing else: full digits, upper-case names, lower-case generation, ranges
// that are not empty. A bare name has generation 0. Errors wrap ErrBadName.
func ParseName(s string) (Desc, error) {
	bad := func(why string) (Desc, error) { return Desc{}, fmt.Errorf("%w: %q: %s", ErrBadName, s, why) }
	if len(s) < imageNameLen || s[keyDigits] != '-' || s[keysEnd:keysEnd+2] != "__" {
		return bad("want <36 hex digits>-<36 hex digits>__<16 hex digits>")
	}
	d := Desc{Image: true}
	start, ok1 := parseKey(s[:keyDigits])
	end, ok2 := parseKey(s[keyDigits+1 : keysEnd])
	lsn, ok3 := parseHex(s[keysEnd+2:imageNameLen], upperDigits)
	if !ok1 || !ok2 || !ok3 {
		return bad("keys and LSNs are upper-case hex")
	}
	rest := s[imageNameLen:]
	d.Keys, d.LSNs = page.Range{Start: start, End: end}, page.LSNRange{Start: page.LSN(lsn), End: page.LSN(lsn + 1)}
	if len(s) >= deltaNameLen && rest[0] == '-' {
		if to, ok := parseHex(rest[1:1+lsnDigits], upperDigits); ok {
			d.Image, d.LSNs.End, rest = false, page.LSN(to), rest[1+lsnDigits:]
		}
	}
	if d.Keys.Empty() || d.LSNs.Empty() {
		return bad("empty range")
	}
	if rest == "" {
		return d, nil
	}
	rest = strings.TrimPrefix(rest, "-v1")
	if len(rest) != 1+generationDigits || rest[0] != '-' {
		return bad("unknown ending; a generation is -v1- or - and 8 hex digits")
	}
	gen, ok := parseHex(rest[1:], lowerDigits)
	if !ok {
		return bad("a generation is lower-case hex")
	}
	d.Generation = uint32(gen)
	return d, nil
}

// NameKind says what a file in a folder of layers is, by its name.
type NameKind uint8

const (
	// NameForeign is that of nothing that is written here.
	NameForeign NameKind = iota
	// NameTemporary is that of a file that was being written, or of one that lived as long as its process:
	// ours, and Neon's of downloads and in-memory layers. Without its process it is of no use.
	NameTemporary
	// NameLayer is that of a layer file on the local disk.
	NameLayer
)

// Neon's temporary names are those in virtualfile.TempSuffix, and these. Source: Neon,
// pageserver/src/tenant/timeline/init.rs.
const (
	downloadSuffix = ".temp_download"
	neonEphemeral  = "ephemeral-" // and a number
)

// Classify tells what a name is, and describes the layer if it is that of one. A layer's must be what
// FileName writes: bare names and remote ones are foreign, and so is a layer's with something behind it.
func Classify(name string) (NameKind, Desc) {
	number, ephemeral := strings.CutPrefix(name, neonEphemeral)
	if ephemeral {
		_, err := strconv.ParseUint(number, 10, 32)
		ephemeral = err == nil
	}
	if ephemeral || strings.HasSuffix(name, virtualfile.TempSuffix) || strings.HasSuffix(name, downloadSuffix) {
		return NameTemporary, Desc{}
	}
	if d, err := ParseName(name); err == nil && d.FileName() == name {
		return NameLayer, d
	}
	return NameForeign, Desc{}
}

const (
	upperDigits = "0123456789ABCDEF"
	lowerDigits = "0123456789abcdef"
)

// parseHex reads up to 16 digits, all of them out of digits.
func parseHex(s, digits string) (uint64, bool) {
	if strings.Trim(s, digits) != "" {
		return 0, false
	}
	v, err := strconv.ParseUint(s, 16, 64)
	return v, err == nil
}

func parseKey(s string) (page.Key, bool) {
	if strings.Trim(s, upperDigits) != "" {
		return page.Key{}, false
	}
	k, err := page.ParseKey(s)
	return k, err == nil
}
