package lint

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// leaves are the internal packages that import nothing of ours and that any room but page may use.
var leaves = []string{"internal/clock", "internal/sorted", "internal/failpoint", "internal/tasks", "internal/offheap", "internal/budget"}

// below names everything under the engine's ties, for the rooms that may import all of it.
var below = slices.Concat(leaves, []string{"page", "pg", "virtualfile", "remote", "cache", "layer", "walredo",
	"compaction", "datadir", "ingest", "ingest/source", "basebackup", "internal/upload", "internal/consumption"})

// allowed is the table of docs/ARCHITECTURE.md: what each room may import of ours. A room is a folder with
// all packages below it, unless one of them is named here itself; packages of one room may import each other.
var allowed = map[string][]string{
	"page":                   nil,
	"internal/clock":         nil,
	"internal/failpoint":     nil,
	"internal/tasks":         nil,
	"internal/sorted":        nil,
	"internal/offheap":       nil,
	"internal/budget":        nil,
	"internal/sizemodel":     {"page"},
	"internal/consumption":   {"page"},
	"virtualfile":            append([]string{"page"}, leaves...),
	"remote":                 append([]string{"page", "virtualfile"}, leaves...),
	"pg":                     {"page"},
	"compaction":             {"page"},
	"cache":                  append([]string{"page"}, leaves...),
	"layer":                  append([]string{"page", "virtualfile", "cache"}, leaves...),
	"walredo":                append([]string{"page", "pg"}, leaves...),
	"datadir":                {"page", "pg"},
	"ingest":                 append([]string{"ingest/source", "page", "pg", "datadir", "cache"}, leaves...),
	"ingest/source":          append([]string{"virtualfile", "remote"}, leaves...),
	"basebackup":             append([]string{"page", "pg", "datadir", "cache"}, leaves...),
	"simulator":              {"page", "compaction"},
	"internal/upload":        append([]string{"page", "remote", "virtualfile", "layer"}, leaves...),
	"internal/backupcache":   append([]string{"page", "virtualfile"}, leaves...),
	"internal/timeline":      below,
	"internal/evict":         nil,
	"internal/tenant":        append([]string{"internal/timeline", "internal/evict"}, below...),
	".":                      append([]string{"internal/sizemodel", "internal/consumption", "internal/timeline", "internal/evict", "internal/tenant", "internal/backupcache", "receive"}, below...),
	"receive":                append([]string{"page", "pg", "datadir", "ingest"}, leaves...),
	"internal/sample":        {"page", "pg", "datadir"},
	"inspect":                append([]string{".", "internal/timeline", "internal/tenant", "receive", "simulator"}, below...),
	"bench":                  append([]string{".", "internal/timeline", "internal/tenant", "receive", "simulator", "inspect", "internal/sample", "pageserver"}, below...),
	"pageserver":             append([]string{".", "inspect"}, below...),
	"internal/demo":          append([]string{".", "inspect", "internal/sample", "bench"}, below...),
	"cmd":                    {anything},
	"internal/testkit":       {anything},
	"walredo/walredotest":    {anything}, // acceptance suites, imported by tests alone
	"datadir/datadirtest":    {anything},
	"compaction/plannertest": {anything},
	"internal/e2e":           {anything},
	"internal/lint":          {anything},
}

const anything = "*"

// forTests are the rooms that only tests may import.
var forTests = []string{"internal/testkit", "internal/e2e", "internal/lint", "walredo/walredotest", "datadir/datadirtest", "remote/remotetest", "compaction/plannertest"}

// roomOf finds the room of a package's folder: the longest name in the table that is it or lies above it.
func roomOf(folder string) (string, bool) {
	for name := folder; ; {
		if _, ok := allowed[name]; ok {
			return name, true
		}
		i := strings.LastIndexByte(name, '/')
		if i < 0 {
			return "", false
		}
		name = name[:i]
	}
}

// TestImports compares the real import graph with the table.
func TestImports(t *testing.T) {
	for _, p := range packages(t) {
		room, ok := roomOf(p.room())
		if !ok {
			t.Errorf("%s is in no room of the table", p.ImportPath)
			continue
		}
		for _, i := range p.Imports {
			if i != module && !strings.HasPrefix(i, module+"/") {
				continue
			}
			other, ok := roomOf(goPackage{ImportPath: i}.room())
			require.True(t, ok, i)
			mayAll := slices.Contains(allowed[room], anything)
			if other != room && !mayAll && !slices.Contains(allowed[room], other) {
				t.Errorf("%s imports %s: room %s may import %v only", p.ImportPath, i, room, allowed[room])
			}
			if slices.Contains(forTests, other) && !slices.Contains(forTests, room) {
				t.Errorf("%s imports %s, which is for tests", p.ImportPath, i)
			}
		}
	}
}

// TestTableHasNoLoop shows that the arrows of the table go one way.
func TestTableHasNoLoop(t *testing.T) {
	var visit func(room string, path []string)
	visit = func(room string, path []string) {
		require.NotContains(t, path, room, "a loop: %v", path)
		for _, next := range allowed[room] {
			if next != anything {
				require.Contains(t, allowed, next)
				visit(next, append(slices.Clone(path), room))
			}
		}
	}
	for room := range allowed {
		visit(room, nil)
	}
}
