package tenant

import (
	"fmt"
	"strings"
)

// Small files of a store are text, so that a person who finds one can read it: a magic, lines of a word and what it says, and a
// checksum over all bytes before its line.

// sealText ends a small file.
func sealText(text string) []byte {
	return fmt.Appendf([]byte(text), "crc32c %08x\n", storeCRC(text))
}

// openText gives the lines of a small file, in which words come in the order given, each once.
func openText(b []byte, magic string, words ...string) ([]string, error) {
	text, ok := strings.CutPrefix(string(b), magic+"\n")
	if !ok {
		return nil, fmt.Errorf("%w: it does not begin with %q", ErrCorruptStoreFile, magic)
	}
	lines := strings.Split(text, "\n")
	if len(lines) != len(words)+2 || lines[len(lines)-1] != "" {
		return nil, fmt.Errorf("%w: it has %d lines, want %d", ErrCorruptStoreFile, len(lines), len(words)+2)
	}
	out := make([]string, len(words))
	for i, w := range words {
		if out[i], ok = strings.CutPrefix(lines[i], w+" "); !ok {
			return nil, fmt.Errorf("%w: line %d is %.40q, want %q", ErrCorruptStoreFile, i+2, lines[i], w)
		}
	}
	sum := lines[len(words)] + "\n"
	if string(sealText(strings.TrimSuffix(string(b), sum))) != string(b) {
		return nil, fmt.Errorf("%w: its checksum does not fit", ErrCorruptStoreFile)
	}
	return out, nil
}
