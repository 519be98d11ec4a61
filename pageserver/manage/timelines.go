package manage

import (
	"errors"
	"fmt"
	"net/http"

	strata "github.com/stratapg/strata"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
)

// timelineInfo is Neon's TimelineInfo, as far as we have it; what its clients cannot do without is there always.
type timelineInfo struct {
	Tenant              page.TenantShardID `json:"tenant_id"`
	Timeline            page.TimelineID    `json:"timeline_id"`
	Name                string             `json:"name"` // ours
	Ancestor            *page.TimelineID   `json:"ancestor_timeline_id"`
	AncestorLSN         *page.LSN          `json:"ancestor_lsn"`
	Last                page.LSN           `json:"last_record_lsn"`
	Prev                page.LSN           `json:"prev_record_lsn"`
	Cutoff              page.LSN           `json:"applied_gc_cutoff_lsn"`
	MinReadable         page.LSN           `json:"min_readable_lsn"`
	DiskConsistent      page.LSN           `json:"disk_consistent_lsn"`
	RemoteConsistent    page.LSN           `json:"remote_consistent_lsn"`
	RemoteVisible       page.LSN           `json:"remote_consistent_lsn_visible"`
	Initdb              page.LSN           `json:"initdb_lsn"`
	LogicalSize         int64              `json:"current_logical_size"`
	LogicalSizeAccurate bool               `json:"current_logical_size_is_accurate"`
	DirectoryEntries    []uint64           `json:"directory_entries_counts"`
	PhysicalSize        int64              `json:"current_physical_size"`
	HistorySize         uint64             `json:"pitr_history_size"`
	WithinAncestorPITR  bool               `json:"within_ancestor_pitr"`
	Version             pg.Version         `json:"pg_version"`
	State               string             `json:"state"`
	WALReceiver         string             `json:"walreceiver_status"`
	Archived            bool               `json:"is_archived"`
	RelDirs             page.RelDirForm    `json:"rel_size_migration"`
	RelDirsSince        *page.LSN          `json:"rel_size_migrated_at"`
	RelDirsWanted       page.RelDirForm    `json:"rel_size_wanted,omitzero"` // ours: from the next record on
}

// describe gives what is known of a timeline; with force its size is reckoned where it is not known.
func (c *call) describe(t *strata.Tenant, tl *strata.Timeline, force bool) (timelineInfo, error) {
	i := tl.Info()
	out := timelineInfo{
		Tenant: t.ShardID(), Timeline: i.ID, Name: i.Name, Ancestor: i.Ancestor, Last: i.LastRecordLSN, Prev: i.PrevRecordLSN,
		Cutoff: i.OldestLSN, MinReadable: i.OldestLSN, DiskConsistent: i.DiskConsistentLSN,
		RemoteConsistent: tl.RemoteConsistentLSN(), RemoteVisible: tl.RemoteConsistentLSN(), Initdb: i.InitialLSN,
		DirectoryEntries: []uint64{}, PhysicalSize: i.LayerBytes, HistorySize: uint64(i.LastRecordLSN - min(i.OldestLSN, i.LastRecordLSN)),
		Version: i.Version, State: "Active", RelDirs: i.RelDirs, RelDirsWanted: i.RelDirsWanted,
	}
	if i.RelDirs != page.RelDirV1 {
		out.RelDirsSince = &i.RelDirsSince
	}
	if i.Ancestor != nil {
		out.AncestorLSN = &i.AncestorLSN
		if a, err := t.Timeline(c.Context(), i.Ancestor.String()); err == nil {
			out.WithinAncestorPITR = i.AncestorLSN >= a.Info().OldestLSN
		}
	}
	if s, err := t.Status(i.ID.String()); err == nil {
		out.Archived = s.Archived != nil
	}
	size, known := tl.KnownLogicalSize()
	if !known && force {
		var err error
		if size, err = tl.LogicalSize(c.Context()); err != nil {
			return out, err
		}
		known = true
	}
	out.LogicalSize, out.LogicalSizeAccurate = size.Bytes, known
	return out, nil
}

func (c *call) listTimelines(*none) ([]timelineInfo, error) {
	t, err := c.tenant()
	if err != nil {
		return nil, err
	}
	out := []timelineInfo{}
	for _, i := range t.Timelines() {
		tl, err := t.Timeline(c.Context(), i.ID.String())
		if err != nil {
			continue // it has gone meanwhile
		}
		d, err := c.describe(t, tl, false)
		if err != nil {
			return nil, err
		}
		out = append(out, d)
	}
	return out, nil
}

// forceSize are the parameters by which a size is asked for: Neon's server has the first, its clients send the second.
var forceSize = []string{"force-await-initial-logical-size", "force-await-logical-size", "include-non-incremental-logical-size", "include-image-consistent-lsn"}

func (c *call) timelineDetails(*none) (out timelineInfo, err error) {
	force := false
	for _, name := range forceSize[:3] {
		f, err := c.flag(name, false)
		if err != nil {
			return out, err
		}
		force = force || f
	}
	t, err := c.tenant()
	if err != nil {
		return out, err
	}
	tl, err := c.timeline()
	if err != nil {
		return out, err
	}
	return c.describe(t, tl, force)
}

// createRequest is Neon's TimelineCreateRequest, of the mode that branches.
type createRequest struct {
	ID          *page.TimelineID `json:"new_timeline_id"`
	Name        string           `json:"name"` // ours; default: tl- and the id
	Ancestor    *page.TimelineID `json:"ancestor_timeline_id"`
	AncestorLSN page.LSN         `json:"ancestor_start_lsn"`
}

func (c *call) createTimeline(r *createRequest) (out timelineInfo, err error) {
	t, err := c.tenant()
	if err != nil {
		return out, err
	}
	switch {
	case r.ID == nil:
		return out, badRequest("new_timeline_id is wanted")
	case r.Ancestor == nil:
		return out, badRequest("ancestor_timeline_id is wanted: a timeline without an ancestor is made of a cluster by `strata import`")
	case r.Name == "":
		r.Name = "tl-" + r.ID.String()
	}
	parent, err := t.Timeline(c.Context(), r.Ancestor.String())
	if err != nil {
		return out, err
	}
	tl, err := t.Branch(c.Context(), parent, strata.BranchOptions{Name: r.Name, ID: *r.ID, At: r.AncestorLSN})
	switch {
	case errors.Is(err, strata.ErrTimelineExists):
		tl, err = c.sameBranch(t, r, err)
	case errors.Is(err, strata.ErrBeforeHistory), errors.Is(err, strata.ErrFutureLSN), errors.Is(err, strata.ErrArchived):
		err = &statusError{http.StatusNotAcceptable, err}
	}
	if err != nil {
		return out, err
	}
	c.code = http.StatusCreated
	return c.describe(t, tl, false)
}

// sameBranch finds the branch that a request has made already, which is repeated.
func (c *call) sameBranch(t *strata.Tenant, r *createRequest, exists error) (*strata.Timeline, error) {
	tl, err := t.Timeline(c.Context(), r.ID.String())
	if err != nil {
		return nil, errors.Join(exists, err)
	}
	i := tl.Info()
	if i.Ancestor == nil || *i.Ancestor != *r.Ancestor || r.AncestorLSN != 0 && i.AncestorLSN != r.AncestorLSN {
		return nil, fmt.Errorf("another one: %w", exists)
	}
	return tl, nil
}

func (c *call) deleteTimeline(*none) (none, error) {
	t, err := c.tenant()
	if err != nil {
		return none{}, err
	}
	id, err := c.timelineID()
	if err != nil {
		return none{}, err
	}
	return none{}, t.Delete(c.Context(), id.String())
}

// archiveRequest is Neon's TimelineArchivalConfigRequest.
type archiveRequest struct {
	State string `json:"state"`
}

func (c *call) archive(r *archiveRequest) (none, error) {
	t, err := c.tenant()
	if err != nil {
		return none{}, err
	}
	id, err := c.timelineID()
	if err != nil {
		return none{}, err
	}
	switch r.State {
	case "Archived":
		return none{}, t.Archive(c.Context(), id.String())
	case "Unarchived":
		return none{}, t.Unarchive(c.Context(), id.String())
	}
	return none{}, badRequest("state %q: Archived and Unarchived there are", r.State)
}
