//go:build !linux

package virtualfile

func renameNew(oldName, newName string) error { return linkAndRemove(oldName, newName) }

// directFlag is nothing where the platform has no such flag.
const directFlag = 0
