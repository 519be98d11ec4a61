package compaction

import "fmt"

// CheckPlan refuses a plan of which a job would do harm, or two jobs together: outputs of one name, or an image that
// leaves a hole beside another's.
func CheckPlan(s *Snapshot, p *Plan) error {
	names := map[ID]int{}
	for i := range p.Jobs {
		j := &p.Jobs[i]
		if err := CheckJob(s, j); err != nil {
			return fmt.Errorf("job %d of %d: %w", i+1, len(p.Jobs), err)
		}
		if j.Kind == Drop || j.Kind == Fold || j.Cut != nil {
			continue
		}
		id := j.whole(s.Generation).Layer.ID
		if other, ok := names[id]; ok {
			return fmt.Errorf("jobs %d and %d of %d both make %s", other+1, i+1, len(p.Jobs), id)
		}
		names[id] = i
	}
	return nil
}
