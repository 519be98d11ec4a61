package tenant

import "sync/atomic"

// ImportStats tell of the imports of a store since it was opened.
type ImportStats struct {
	// Running are at work now, and Now is how far they are together. Interrupted are those that nobody goes on with.
	Running, Interrupted int64
	Now                  ImportProgress
	// Finished made a timeline, Failed ended before.
	Finished, Failed int64
	// JobsDone and PagesDone are of jobs that were done, Retries attempts that failed and were begun again.
	JobsDone, PagesDone, Retries int64
	// Told counts how often remote storage was told how far an import is, Untold when that failed.
	Told, Untold int64
}

// importCounters is ImportStats while it changes.
type importCounters struct {
	finished, failed, jobs, pages, retries, told, untold atomic.Int64
}

// ended counts an import.
func (c *importCounters) ended(err error) {
	if err != nil {
		c.failed.Add(1)
	} else {
		c.finished.Add(1)
	}
}

// tried counts an attempt to tell remote storage.
func (c *importCounters) tried(err error) {
	if err != nil {
		c.untold.Add(1)
	} else {
		c.told.Add(1)
	}
}

// Imports tells of the imports of all tenants.
func (s *Store) Imports() ImportStats {
	c := &s.imports
	st := ImportStats{Finished: c.finished.Load(), Failed: c.failed.Load(), JobsDone: c.jobs.Load(), PagesDone: c.pages.Load(),
		Retries: c.retries.Load(), Told: c.told.Load(), Untold: c.untold.Load()}
	for _, t := range s.allTenants() {
		t.addImports(&st)
	}
	return st
}

func (t *Tenant) addImports(st *ImportStats) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, s := range t.mu.slots {
		if s.state == Importing {
			st.Interrupted++
		}
		if s.importing == nil {
			continue
		}
		p := s.importing.get()
		st.Running++
		st.Now.Jobs, st.Now.JobsDone = st.Now.Jobs+p.Jobs, st.Now.JobsDone+p.JobsDone
		st.Now.Pages, st.Now.PagesDone = st.Now.Pages+p.Pages, st.Now.PagesDone+p.PagesDone
		st.Now.Bytes, st.Now.BytesDone = st.Now.Bytes+p.Bytes, st.Now.BytesDone+p.BytesDone
	}
}
