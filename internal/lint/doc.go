// Package lint holds rules about the repository itself, as tests: which package may import which, what the
// root package exports, that every exported name is documented, that links in documents lead somewhere,
// that no test skips behind CI's back. It has no code of its own.
package lint
