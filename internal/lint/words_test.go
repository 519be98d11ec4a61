package lint

import (
	"bytes"
	"go/ast"
	"os"
	"path"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// machineWords are paths of somebody's machine, which mean nothing to others. The brackets keep the
// pattern from finding itself.
var machineWords = regexp.MustCompile(`[/]work/|[/]farm/|[/]tmp/bash_jobs|[.]library/|farm[-][a-z]+|before[-]stop|[/]tmp/contracts|[/]tmp/pgsrc|npm[t]ry|[/]home/[a-z]|[/]Users/[a-z]`)

// TestNoMachineWords shows that no text of the repository speaks of the machine that it was written on.
func TestNoMachineWords(t *testing.T) {
	eachFile(t, func(rel, file string) {
		b, err := os.ReadFile(file)
		require.NoError(t, err)
		const looksBinary = 8000
		if rel == "go.sum" || bytes.IndexByte(b[:min(len(b), looksBinary)], 0) >= 0 {
			return
		}
		n := 0
		for line := range bytes.Lines(b) {
			n++
			if w := machineWords.Find(line); w != nil {
				t.Errorf("%s:%d: %q is a word of one machine", rel, n, w)
			}
		}
	})
}

// TestSizes shows that nothing large is kept: sample data is under 6 MB in all, and no other file is large.
func TestSizes(t *testing.T) {
	const maxTestdata, maxFile = 6 << 20, 1536 << 10
	total := int64(0)
	eachFile(t, func(rel, file string) {
		info, err := os.Stat(file)
		require.NoError(t, err)
		if strings.Contains("/"+rel, "/testdata/") {
			total += info.Size()
		}
		if info.Size() > maxFile {
			t.Errorf("%s has %d bytes", rel, info.Size())
		}
	})
	require.Less(t, total, int64(maxTestdata), "bytes of all testdata folders")
}

// TestSkips shows that tests skip through testkit.Skip alone, which CI turns into failures. A fuzz target
// may skip an input, and a property a draw.
func TestSkips(t *testing.T) {
	for _, p := range packages(t) {
		if p.room() == "internal/testkit" {
			continue
		}
		fset, files := parse(t, p, append(append([]string{}, p.TestGoFiles...), p.XTestGoFiles...))
		for _, f := range files {
			ast.Inspect(f, func(n ast.Node) bool {
				call, ok := n.(*ast.CallExpr)
				if !ok {
					return true
				}
				sel, ok := call.Fun.(*ast.SelectorExpr)
				if !ok {
					return true
				}
				if sel.Sel.Name == "Fuzz" || sel.Sel.Name == "Check" {
					return false // the function given to it has inputs of its own to refuse
				}
				receiver, ok := sel.X.(*ast.Ident)
				if ok && (receiver.Name == "t" || receiver.Name == "b" || receiver.Name == "tb") && strings.HasPrefix(sel.Sel.Name, "Skip") {
					t.Errorf("%s: %s.%s skips even where nothing may: use testkit.Skip", fset.Position(call.Pos()), receiver.Name, sel.Sel.Name)
				}
				return true
			})
		}
	}
}

// TestFileNames shows that no package is a heap of things without a name.
func TestFileNames(t *testing.T) {
	for _, p := range packages(t) {
		switch path.Base(p.ImportPath) {
		case "util", "utils", "common", "helper", "helpers", "base", "misc":
			t.Errorf("%s: what is in it has no name yet", p.ImportPath)
		}
	}
}
