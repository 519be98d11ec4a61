package manage

import (
	"fmt"

	strata "github.com/stratapg/strata"
)

// anyFlag reports whether one of some parameters is set.
func (c *call) anyFlag(names ...string) (bool, error) {
	set := false
	for _, name := range names {
		f, err := c.flag(name, false)
		if err != nil {
			return false, err
		}
		set = set || f
	}
	return set, nil
}

// compactNow compacts what is due or, if one of Neon's flags forces it, all there is.
func (c *call) compactNow(tl *strata.Timeline) (strata.CompactResult, error) {
	force, err := c.anyFlag("force_l0_compaction", "force_repartition", "force_image_layer_creation")
	if err != nil {
		return strata.CompactResult{}, err
	}
	return tl.Compact(c.Context(), strata.CompactOptions{DueOnly: !force})
}

// uploaded waits until remote storage has all, if that is wanted.
func (c *call) uploaded(tl *strata.Timeline) error {
	wait, err := c.flag("wait_until_uploaded", false)
	if err != nil || !wait {
		return err
	}
	return tl.WaitUploads(c.Context())
}

func (c *call) checkpoint(*none) (none, error) {
	tl, err := c.timeline()
	if err != nil {
		return none{}, err
	}
	wait, err := c.flag("wait_until_flushed", true)
	if err != nil {
		return none{}, err
	}
	compact, err := c.flag("compact", true)
	if err != nil {
		return none{}, err
	}
	if wait || compact {
		err = tl.Flush(c.Context())
	} else {
		err = tl.Freeze(c.Context())
	}
	if err == nil && compact {
		_, err = c.compactNow(tl)
	}
	if err == nil {
		err = c.uploaded(tl)
	}
	return none{}, err
}

// compactReply says what was done.
type compactReply struct {
	Jobs    int   `json:"jobs"`
	Read    int64 `json:"bytes_read"`
	Written int64 `json:"bytes_written"`
	Outputs int   `json:"outputs"`
	Removed int   `json:"removed"`
	Layers  int   `json:"layers"`
}

func (c *call) compact(*none) (out compactReply, err error) {
	tl, err := c.timeline()
	if err != nil {
		return out, err
	}
	r, err := c.compactNow(tl)
	if err == nil {
		err = c.uploaded(tl)
	}
	return compactReply{r.Jobs, r.BytesRead, r.BytesWritten, r.Outputs, r.Removed, r.Layers}, err
}

// gcRequest is Neon's TimelineGcRequest.
type gcRequest struct {
	Horizon *uint64 `json:"gc_horizon"`
}

// gcReply says what was removed. The first two names are Neon's.
type gcReply struct {
	Total   int    `json:"layers_total"`
	Removed int    `json:"layers_removed"`
	Bytes   int64  `json:"bytes_removed"`
	Cutoff  string `json:"cutoff"`
	Limit   string `json:"limit"`
}

func (c *call) collect(r *gcRequest) (out gcReply, err error) {
	tl, err := c.timeline()
	if err != nil {
		return out, err
	}
	o := strata.GCOptions{}
	if r.Horizon != nil {
		if o.Horizon = int64(*r.Horizon); o.Horizon < 0 {
			return out, badRequest("gc_horizon is %d bytes: more than there can be", *r.Horizon)
		}
		if o.Horizon == 0 {
			o.Horizon = -1 // none, where 0 is the store's
		}
	}
	g, err := tl.GC(c.Context(), o)
	return gcReply{g.Removed + g.Kept, g.Removed, g.RemovedBytes, fmt.Sprint(g.Cutoff), g.Limit}, err
}

// downloadReply is how far a download came.
type downloadReply struct {
	Layers int   `json:"total_layer_count"`
	Done   int   `json:"successful_download_count"`
	Bytes  int64 `json:"bytes"`
}

func (c *call) download(*none) (out downloadReply, err error) {
	tl, err := c.timeline()
	if err != nil {
		return out, err
	}
	var last strata.DownloadProgress
	err = tl.Download(c.Context(), func(p strata.DownloadProgress) { last = p })
	return downloadReply{last.TotalLayers, last.Layers, last.Bytes}, err
}
