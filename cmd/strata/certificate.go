package main

import (
	"crypto/tls"
	"fmt"
	"os"
	"sync"
	"time"
)

// certificate is a pair of files, read again when they have changed. It may be used from many goroutines.
type certificate struct {
	cert, key string

	mu     sync.Mutex
	read   [2]time.Time // when the files were last changed
	loaded *tls.Certificate
}

// get is what a tls.Config asks. While new files cannot be read the old ones stay in use.
func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var changed [2]time.Time
	for i, name := range []string{c.cert, c.key} {
		if s, err := os.Stat(name); err == nil {
			changed[i] = s.ModTime()
		}
	}
	if c.loaded != nil && changed == c.read {
		return c.loaded, nil
	}
	loaded, err := tls.LoadX509KeyPair(c.cert, c.key)
	if err != nil {
		if c.loaded != nil {
			return c.loaded, nil
		}
		return nil, fmt.Errorf("certificate %s with key %s: %w", c.cert, c.key, err)
	}
	c.loaded, c.read = &loaded, changed
	return c.loaded, nil
}
