// Package layer keeps values on disk and in memory: delta and image files, the in-memory layer, and the map
// that says which of them to ask.
package layer
