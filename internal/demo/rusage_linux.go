package demo

// maxrssPerMiB: Linux counts ru_maxrss in KiB.
const maxrssPerMiB = 1 << 10
