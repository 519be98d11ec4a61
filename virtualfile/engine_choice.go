package virtualfile

// newEngine makes the engine that the options ask for.
func newEngine(DiskOptions) (engine, error) { return newStdEngine(), nil }
