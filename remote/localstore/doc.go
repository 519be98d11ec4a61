// Package localstore keeps objects as files below a folder, in the layout that Neon's local storage has: an object's
// key is its path. A Put is written under a name of its own, synced, moved into place, and the folders are synced, so that
// an object is whole or not there after a crash of the machine too, and there once Put has returned.
//
// Since a file cannot be a folder too, an object's key cannot continue another's with a slash (ErrInvalid). Folders
// go with the last object in them, unless somebody puts one meanwhile.
//
// What a process that died was writing lies in a folder whose lock ended with the process; the next one to open the
// store removes it. Many processes may use a store at once.
package localstore
