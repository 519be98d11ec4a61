package lint

import (
	"bytes"
	"flag"
	"go/ast"
	"go/format"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var rewrite = flag.Bool("rewrite", false, "write the golden file anew")

// TestAPI compares what the root package exports with a golden file, so that a change of the API is seen in
// review. `go test ./internal/lint -run TestAPI -rewrite` accepts it.
func TestAPI(t *testing.T) {
	golden := filepath.Join("testdata", "api.txt")
	got := apiOf(t, module)
	if *rewrite {
		require.NoError(t, os.MkdirAll("testdata", 0o755))
		require.NoError(t, os.WriteFile(golden, []byte(got), 0o644))
	}
	want, err := os.ReadFile(golden)
	require.NoError(t, err)
	require.Equal(t, string(want), got, "the exported API changed; accept with: go test ./internal/lint -run TestAPI -rewrite")
}

// apiOf lists a package's exported declarations without comments and bodies, sorted; of a name that stands
// for a type of an internal package, that type's declaration and methods too.
func apiOf(t *testing.T, importPath string) string {
	t.Helper()
	p := findPackage(t, importPath)
	fset, files := parse(t, p, p.GoFiles)
	var decls []string
	for _, f := range files {
		imports := importsOf(f)
		ast.FileExports(f)
		for _, d := range f.Decls {
			decls = append(decls, declText(t, fset, d)...)
			decls = append(decls, aliased(t, imports, d)...)
		}
	}
	slices.Sort(decls)
	return strings.Join(slices.Compact(decls), "\n") + "\n"
}

func findPackage(t *testing.T, importPath string) goPackage {
	t.Helper()
	all := packages(t)
	i := slices.IndexFunc(all, func(p goPackage) bool { return p.ImportPath == importPath })
	require.GreaterOrEqual(t, i, 0, importPath)
	return all[i]
}

func importsOf(f *ast.File) map[string]string {
	m := map[string]string{}
	for _, i := range f.Imports {
		path := strings.Trim(i.Path.Value, `"`)
		name := path[strings.LastIndexByte(path, '/')+1:]
		if i.Name != nil {
			name = i.Name.Name
		}
		m[name] = path
	}
	return m
}

// declText renders a declaration, a group as one entry for each of its names.
func declText(t *testing.T, fset *token.FileSet, d ast.Decl) []string {
	t.Helper()
	switch d := d.(type) {
	case *ast.FuncDecl:
		d.Body, d.Doc = nil, nil
		return []string{render(t, fset, d)}
	case *ast.GenDecl:
		var out []string
		for _, s := range d.Specs {
			if d.Tok == token.IMPORT {
				continue
			}
			dropComments(s)
			out = append(out, d.Tok.String()+" "+render(t, fset, s))
		}
		return out
	}
	return nil
}

func dropComments(n ast.Node) {
	ast.Inspect(n, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.Field:
			n.Doc, n.Comment = nil, nil
		case *ast.TypeSpec:
			n.Doc, n.Comment = nil, nil
		case *ast.ValueSpec:
			n.Doc, n.Comment = nil, nil
		}
		return true
	})
}

func render(t *testing.T, fset *token.FileSet, n any) string {
	t.Helper()
	var b bytes.Buffer
	require.NoError(t, format.Node(&b, fset, n))
	// Field groups keep the blank lines of the comments that were dropped.
	lines := slices.DeleteFunc(strings.Split(b.String(), "\n"), func(l string) bool { return strings.TrimSpace(l) == "" })
	return strings.Join(lines, "\n")
}

// aliased lists what `type Name = internal.Name` exports.
func aliased(t *testing.T, imports map[string]string, d ast.Decl) []string {
	t.Helper()
	g, ok := d.(*ast.GenDecl)
	if !ok {
		return nil
	}
	var out []string
	for _, s := range g.Specs {
		ts, ok := s.(*ast.TypeSpec)
		if !ok || !ts.Assign.IsValid() {
			continue
		}
		sel, ok := ts.Type.(*ast.SelectorExpr)
		if !ok {
			continue
		}
		path := imports[sel.X.(*ast.Ident).Name]
		if strings.HasPrefix(path, module+"/internal/") {
			out = append(out, typeDecls(t, path, sel.Sel.Name)...)
		}
	}
	return out
}

// typeDecls gives a type's declaration and its exported methods, marked with their package.
func typeDecls(t *testing.T, importPath, name string) []string {
	t.Helper()
	p := findPackage(t, importPath)
	fset, files := parse(t, p, p.GoFiles)
	var out []string
	for _, f := range files {
		ast.FileExports(f)
		for _, d := range f.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				if d.Recv != nil && strings.Trim(render(t, fset, d.Recv.List[0].Type), "*") == name {
					out = append(out, declText(t, fset, d)...)
				}
			case *ast.GenDecl:
				d.Specs = slices.DeleteFunc(d.Specs, func(s ast.Spec) bool {
					ts, ok := s.(*ast.TypeSpec)
					return !ok || ts.Name.Name != name
				})
				out = append(out, declText(t, fset, d)...)
			}
		}
	}
	for i := range out {
		out[i] = p.Name + ": " + out[i]
	}
	return out
}
