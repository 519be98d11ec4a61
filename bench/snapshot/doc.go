// Package snapshot keeps prepared stores, so that runs of benchmarks compare the same layers.
//
// A snapshot is a folder with the file snapshot.json, which says what was prepared and how, and a folder store. It is made under
// another name and renamed once it is whole and synced, so there are no halves of them.
//
// A store that is used is a copy: by reflink where the file system can, so that it takes no room until it is changed; else layer files,
// which are never changed in place, are linked, and all else is copied. The snapshot itself is never written to.
package snapshot
