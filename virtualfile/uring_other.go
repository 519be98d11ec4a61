//go:build !linux

package virtualfile

import (
	"errors"
	"log/slog"
)

// openURing says that there is no such thing.
func openURing(*slog.Logger) (engine, error) {
	if uringOff() {
		return nil, errors.New("io_uring is switched off by " + uringSwitch)
	}
	return nil, errors.New("io_uring is not available on this platform")
}
