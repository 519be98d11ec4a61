// Package cache keeps blocks of layer files in memory: index nodes, summaries and checksum blocks, 8 KiB
// each. A block is had through a Pin, and is neither changed nor reused until the pin is released.
package cache
