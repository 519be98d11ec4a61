package pageapi

import (
	"net"
	"sync"
)

// connections are those that are open, by the client's address.
type connections struct {
	mu                sync.Mutex
	open              map[string]net.Conn
	accepted, refused int64
}

// listen gives a listener that keeps account of connections, and closes those that are too many.
func (c *connections) listen(l net.Listener, most int) net.Listener {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.open = map[string]net.Conn{}
	return &listener{Listener: l, c: c, most: most}
}

func (c *connections) count() (open, accepted, refused int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return int64(len(c.open)), c.accepted, c.refused
}

// breakOff closes the connection of a client.
func (c *connections) breakOff(client string) {
	c.mu.Lock()
	nc := c.open[client]
	c.mu.Unlock()
	if nc != nil {
		nc.Close()
	}
}

type listener struct {
	net.Listener
	c    *connections
	most int
}

// Accept implements net.Listener.
func (l *listener) Accept() (net.Conn, error) {
	for {
		nc, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if admitted := l.c.admit(nc, l.most); admitted != nil {
			return admitted, nil
		}
		nc.Close()
	}
}

func (c *connections) admit(nc net.Conn, most int) net.Conn {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.open) >= most {
		c.refused++
		return nil
	}
	c.accepted++
	a := &connection{Conn: nc, of: c, client: nc.RemoteAddr().String()}
	c.open[a.client] = a
	return a
}

// connection is one that is counted until it is closed.
type connection struct {
	net.Conn
	of     *connections
	client string
	once   sync.Once
}

// Close closes the connection.
func (a *connection) Close() error {
	a.once.Do(func() {
		a.of.mu.Lock()
		defer a.of.mu.Unlock()
		if a.of.open[a.client] == a {
			delete(a.of.open, a.client)
		}
	})
	return a.Conn.Close()
}
