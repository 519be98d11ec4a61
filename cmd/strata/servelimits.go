package main

import (
	"time"

	"github.com/spf13/pflag"

	"github.com/stratapg/strata/pageserver"
	"github.com/stratapg/strata/pageserver/pageapi"
)

// limitFlags bound what clients may have of the server.
type limitFlags struct {
	connections, batch, calls int
	answers, callAnswers      sizeValue
	waitLSN                   time.Duration
}

func (f *limitFlags) register(fs *pflag.FlagSet) {
	f.answers, f.callAnswers = 512<<20, 256<<20
	fs.IntVar(&f.connections, "connections", 4096, "how many connections may be open; over gRPC as many more")
	fs.IntVar(&f.batch, "batch", 32, "how many page requests of one stream are read at once")
	fs.Var(&f.answers, "answer-memory", "memory of the answers of all clients, from when they are read until they are sent; who takes his most slowly is cut off when others have waited for some for 5 seconds")
	fs.Var(&f.callAnswers, "grpc-answer-memory", "the same over gRPC")
	fs.IntVar(&f.calls, "grpc-calls", 16384, "how many gRPC calls and streams of all connections may be under way; further ones are refused")
	fs.DurationVar(&f.waitLSN, "wait-lsn", 5*time.Minute, "how long a request may wait for WAL")
}

// pages bounds the page service.
func (f *limitFlags) pages(c *pageserver.Config) {
	c.Connections, c.Batch, c.WaitLSN, c.Memory = f.connections, f.batch, f.waitLSN, int64(f.answers)
}

// callsOf gives the configuration of what serves the same over gRPC.
func (f *limitFlags) callsOf(c pageserver.Config) pageapi.Config {
	return pageapi.Config{Engine: c.Engine, Connections: f.connections, Calls: f.calls, Batch: f.batch, Memory: int64(f.callAnswers), WaitLSN: f.waitLSN,
		TLS: c.TLS, Auth: c.Auth, Logger: c.Logger}
}
