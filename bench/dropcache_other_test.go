//go:build !linux

package bench

import "os"

// dropCache does nothing where there is no such call: reads may then come from memory.
func dropCache(*os.File) error { return nil }
