package lint

import (
	"go/ast"
	"go/token"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/internal/testkit"
)

// TestPackageDocs shows that every package says what it is for, and every exported name what it is.
func TestPackageDocs(t *testing.T) {
	for _, p := range packages(t) {
		fset, files := parse(t, p, p.GoFiles)
		documented := len(files) == 0
		for _, f := range files {
			documented = documented || f.Doc.Text() != ""
			if p.Name == "main" || ast.IsGenerated(f) {
				continue
			}
			endOfRun := 0 // the last line of a documented declaration
			for _, d := range f.Decls {
				from, to := fset.Position(d.Pos()).Line, fset.Position(d.End()).Line
				names := undocumented(d)
				if len(names) == 0 || from == endOfRun+1 {
					endOfRun = to
					continue
				}
				t.Errorf("%s: exported %s has no comment", fset.Position(d.Pos()), strings.Join(names, ", "))
			}
		}
		if !documented {
			t.Errorf("%s has no package comment", p.ImportPath)
		}
	}
}

// undocumented lists the exported names of a declaration that no comment speaks of. A comment on a group,
// on a line, or on the one before in a run without blank lines counts for all of them.
func undocumented(d ast.Decl) []string {
	switch d := d.(type) {
	case *ast.FuncDecl:
		if d.Name.IsExported() && d.Doc == nil && exportedReceiver(d) && !implied[d.Name.Name] {
			return []string{d.Name.Name}
		}
	case *ast.GenDecl:
		var names []string
		before := d.Doc != nil
		for _, s := range d.Specs {
			switch s := s.(type) {
			case *ast.TypeSpec:
				if s.Name.IsExported() && d.Doc == nil && s.Doc == nil && s.Comment == nil {
					names = append(names, s.Name.Name)
				}
			case *ast.ValueSpec:
				before = before || s.Doc != nil || s.Comment != nil
				if !before && d.Tok != token.IMPORT && s.Names[0].IsExported() {
					names = append(names, s.Names[0].Name)
				}
			}
		}
		return names
	}
	return nil
}

// implied are methods of well-known interfaces, which say by their name what they do.
var implied = map[string]bool{"String": true, "Error": true, "Unwrap": true, "Len": true, "Less": true, "Swap": true,
	"Close": true, "MarshalText": true, "UnmarshalText": true, "WriteTo": true}

func exportedReceiver(d *ast.FuncDecl) bool {
	if d.Recv == nil {
		return true
	}
	typ := d.Recv.List[0].Type
	if s, ok := typ.(*ast.StarExpr); ok {
		typ = s.X
	}
	if i, ok := typ.(*ast.IndexExpr); ok {
		typ = i.X
	}
	id, ok := typ.(*ast.Ident)
	return ok && id.IsExported()
}

var (
	linkTarget = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	codeSpan   = regexp.MustCompile("`([^`\n]+)`")
	plainPath  = regexp.MustCompile(`^[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)+/?$`)
	fencedCode = regexp.MustCompile("(?ms)^```.*?^```")
)

// TestLinks shows that the links in documents, and the files and folders that they name, are there.
func TestLinks(t *testing.T) {
	root := testkit.RepoRoot(t)
	eachFile(t, func(rel, file string) {
		if path.Ext(rel) != ".md" {
			return
		}
		b, err := os.ReadFile(file)
		require.NoError(t, err)
		text := fencedCode.ReplaceAllString(string(b), "")
		for _, m := range linkTarget.FindAllStringSubmatch(text, -1) {
			target, _, _ := strings.Cut(m[1], "#")
			if target == "" || strings.Contains(target, "://") || strings.HasPrefix(target, "mailto:") {
				continue
			}
			if _, err := os.Stat(filepath.Join(filepath.Dir(file), filepath.FromSlash(target))); err != nil {
				t.Errorf("%s: link to %s: no such file", rel, m[1])
			}
		}
		for _, m := range codeSpan.FindAllStringSubmatch(text, -1) {
			if named(root, m[1]) && !exists(root, filepath.Dir(file), m[1]) {
				t.Errorf("%s names `%s`: no such file", rel, m[1])
			}
		}
	})
}

// named reports whether the words in a code span name a file of the repository: a path whose first folder
// is there.
func named(root, s string) bool {
	if !plainPath.MatchString(s) || strings.HasPrefix(s, ".") {
		return false
	}
	first, _, _ := strings.Cut(s, "/")
	info, err := os.Stat(filepath.Join(root, first))
	return err == nil && info.IsDir()
}

func exists(root, dir, s string) bool {
	for _, base := range []string{root, dir} {
		if _, err := os.Stat(filepath.Join(base, filepath.FromSlash(s))); err == nil {
			return true
		}
	}
	return false
}
