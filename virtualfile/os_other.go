//go:build !linux

package virtualfile

func renameNew(oldName, newName string) error { return linkAndRemove(oldName, newName) }
