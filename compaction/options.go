package compaction

import (
	"errors"
	"fmt"
	"time"
)

// Defaults of Options.
const (
	defaultCheckpointDistance     = 256 << 20
	defaultCompactionTargetSize   = 128 << 20
	defaultCompactionThreshold    = 10
	defaultCompactionUpperLimit   = 10
	defaultImageCreationThreshold = 3
	defaultImageCheckDistance     = 2
	defaultImageCheckAge          = 10 * time.Minute
	defaultImageSmallBytes        = 2 << 30
	defaultImageSmallAge          = 48 * time.Hour
	defaultImagePreemptThreshold  = 3
	defaultMetadataThreshold      = 16
	defaultFoldMinBytes           = 5 << 30
	defaultFoldRatio              = 100
	defaultFoldJobBytes           = 4 << 30
	defaultMaxVisits              = 16
	defaultMaxRecords             = 256
)

// WithDefaults gives a copy in which each zero is replaced by its default.
func (o Options) WithDefaults() Options {
	fill(&o.CheckpointDistance, defaultCheckpointDistance)
	fill(&o.CompactionTargetSize, defaultCompactionTargetSize)
	fill(&o.CompactionThreshold, defaultCompactionThreshold)
	fill(&o.CompactionUpperLimit, defaultCompactionUpperLimit)
	fill(&o.ImageCreationThreshold, defaultImageCreationThreshold)
	fill(&o.ImageCheckDistance, defaultImageCheckDistance)
	fill(&o.ImageCheckAge, defaultImageCheckAge)
	fill(&o.ImageSmallBytes, defaultImageSmallBytes)
	fill(&o.ImageSmallAge, defaultImageSmallAge)
	fill(&o.ImagePreemptThreshold, defaultImagePreemptThreshold)
	fill(&o.MetadataThreshold, defaultMetadataThreshold)
	fill(&o.FoldMinBytes, defaultFoldMinBytes)
	fill(&o.FoldRatio, defaultFoldRatio)
	fill(&o.FoldJobBytes, defaultFoldJobBytes)
	fill(&o.MaxVisits, defaultMaxVisits)
	fill(&o.MaxRecords, defaultMaxRecords)
	return o
}

func fill[T comparable](v *T, to T) {
	var zero T
	if *v == zero {
		*v = to
	}
}

// Bounds that keep what is computed from options within 63 bits.
const (
	maxOptionBytes = 1 << 50
	maxOptionCount = 1 << 20
	maxOptionAge   = int64(100 * 365 * 24 * time.Hour)
)

// Validate reports all options, defaults filled in, that are out of bounds.
func (o Options) Validate() error {
	o = o.WithDefaults()
	within := func(name string, v, low, high int64) error {
		if v >= low && v <= high {
			return nil
		}
		return fmt.Errorf("compaction option %s is %d: must be from %d to %d", name, v, low, high)
	}
	return errors.Join(
		within("CheckpointDistance", o.CheckpointDistance, 1, maxOptionBytes),
		within("CompactionTargetSize", o.CompactionTargetSize, 1, maxOptionBytes),
		within("CompactionThreshold", int64(o.CompactionThreshold), 1, maxOptionCount),
		within("CompactionUpperLimit", int64(o.CompactionUpperLimit), 1, maxOptionCount),
		within("ImageCreationThreshold", int64(o.ImageCreationThreshold), 1, maxOptionCount),
		within("ImageCheckDistance", int64(o.ImageCheckDistance), 1, maxOptionCount),
		within("ImageCheckAge", int64(o.ImageCheckAge), 1, maxOptionAge),
		within("ImageSmallBytes", o.ImageSmallBytes, 1, maxOptionBytes),
		within("ImageSmallAge", int64(o.ImageSmallAge), 1, maxOptionAge),
		within("ImagePreemptThreshold", int64(o.ImagePreemptThreshold), 1, maxOptionCount),
		within("ImageForcePercent", int64(o.ImageForcePercent), 0, 100),
		within("MetadataThreshold", int64(o.MetadataThreshold), 1, maxOptionCount),
		within("FoldMinBytes", o.FoldMinBytes, 1, maxOptionBytes),
		within("FoldRatio", int64(o.FoldRatio), 1, maxOptionCount),
		within("FoldJobBytes", o.FoldJobBytes, 1, maxOptionBytes),
		within("MaxVisits", int64(o.MaxVisits), 1, maxOptionCount),
		within("MaxRecords", int64(o.MaxRecords), 1, maxOptionCount),
	)
}
