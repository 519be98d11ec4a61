package lint

import (
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/internal/testkit"
)

const module = "github.com/stratapg/strata"

// goPackage is what `go list -json` says of a package.
type goPackage struct {
	ImportPath, Dir, Name            string
	GoFiles, TestGoFiles, Imports    []string
	XTestGoFiles, IgnoredGoFiles     []string
	TestImports, XTestImports, Match []string
}

// room gives the package's folder below the root, "." for the root itself.
func (p goPackage) room() string {
	if p.ImportPath == module {
		return "."
	}
	return strings.TrimPrefix(p.ImportPath, module+"/")
}

var listPackages = sync.OnceValues(func() ([]goPackage, error) {
	cmd := exec.Command("go", "list", "-json", module+"/...")
	out, err := cmd.Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			err = errors.New(string(exit.Stderr))
		}
		return nil, err
	}
	var all []goPackage
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p goPackage
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return all, nil
		} else if err != nil {
			return nil, err
		}
		all = append(all, p)
	}
})

// packages lists the packages of the module.
func packages(t *testing.T) []goPackage {
	t.Helper()
	all, err := listPackages()
	require.NoError(t, err)
	require.NotEmpty(t, all)
	return all
}

// parse parses files of a package.
func parse(t *testing.T, p goPackage, names []string) (*token.FileSet, []*ast.File) {
	t.Helper()
	fset := token.NewFileSet()
	files := make([]*ast.File, len(names))
	for i, name := range names {
		f, err := parser.ParseFile(fset, filepath.Join(p.Dir, name), nil, parser.ParseComments)
		require.NoError(t, err)
		files[i] = f
	}
	return fset, files
}

// eachFile calls fn for every regular file of the repository that git would keep, by its path below the
// root with slashes.
func eachFile(t *testing.T, fn func(rel string, path string)) {
	t.Helper()
	root := testkit.RepoRoot(t)
	// Without git, as in an unpacked archive, everything there is counts.
	out, err := exec.Command("git", "-C", root, "ls-files", "-z", "--cached", "--others", "--exclude-standard").Output()
	if err == nil {
		for rel := range strings.SplitSeq(strings.TrimRight(string(out), "\x00"), "\x00") {
			if info, err := os.Lstat(filepath.Join(root, rel)); err == nil && info.Mode().IsRegular() {
				fn(rel, filepath.Join(root, filepath.FromSlash(rel)))
			}
		}
		return
	}
	require.NoError(t, filepath.WalkDir(root, func(path string, e os.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		rel, err := filepath.Rel(root, path)
		fn(filepath.ToSlash(rel), path)
		return err
	}))
}
