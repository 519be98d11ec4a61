package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	strata "github.com/stratapg/strata"
)

// timeForms are the forms of a time, each with and without a zone.
var timeForms = []string{"2006-01-02 15:04:05.999999999", "2006-01-02 15:04", "2006-01-02"}

// timeHelp says what timeValue takes.
const timeHelp = `A time is written as '2026-01-01 12:00', '2026-01-01 12:00:00.123456' or 2026-01-01T12:00:00Z, with a zone behind it
(Z, +02 or +02:00) or in this machine's zone (TZ).`

// timeValue is a moment.
type timeValue struct {
	at  time.Time
	set bool
}

func (v *timeValue) String() string {
	if !v.set {
		return ""
	}
	return v.at.Format(time.RFC3339Nano)
}
func (v *timeValue) Type() string { return "TIME" }
func (v *timeValue) Set(s string) error {
	plain := strings.Replace(strings.TrimSpace(s), "T", " ", 1)
	for _, form := range timeForms {
		for _, zone := range []string{"", "Z07:00", " Z07:00", "Z07", " Z07"} {
			if at, err := time.ParseInLocation(form+zone, plain, time.Local); err == nil {
				v.at, v.set = at, true
				return nil
			}
		}
	}
	return fmt.Errorf("time %q: want one as '2026-01-01 12:00', '2026-01-01 12:00:00.123456+02' or 2026-01-01T12:00:00Z", s)
}

// moment is where a time lies, on the timeline asked or an ancestor of it.
type moment struct {
	timeline strata.TimelineInfo
	strata.TimeLSN
}

// findTime asks a timeline, and its ancestors for what was before it.
func findTime(ctx context.Context, tl *openedTimeline, at time.Time) (moment, error) {
	for on := tl.Timeline; ; {
		info := on.Info()
		found, err := on.LSNOfTime(ctx, at)
		switch {
		case err != nil:
			return moment{}, err
		case found.Kind == strata.TimePast && info.Ancestor != nil:
			if on, err = tl.tenant.Timeline(ctx, info.Ancestor.String()); err != nil {
				return moment{}, err
			}
			continue
		case found.Kind == strata.TimePast:
			return moment{}, fmt.Errorf("%s is before LSN %s, the oldest state of timeline %s that can be read", at.Format(time.RFC3339Nano), found.LSN, info.Name)
		case found.Kind == strata.TimeUnknown:
			return moment{}, fmt.Errorf("timeline %s has no transaction, from LSN %s to %s, whose time is known", info.Name, found.LSN, info.LastRecordLSN)
		}
		return moment{info, found}, nil
	}
}

func newAt() *cobra.Command {
	var f storeFlags
	c := &cobra.Command{
		Use:   "at TIME",
		Short: "Say which LSN a time is",
		Long: `Finds the state as of a time, as PostgreSQL's recovery_target_time does: that just before the first commit or abort, in
the order of the WAL, that is later than the time. Commits need not be in the order of their times, so what follows
may hold commits of before that time. On a branch the search goes on in its ancestors.

` + timeHelp + `

The closing line has the LSN for --lsn and --at of other commands, and the timeline to ask. kind is present, or future if no
transaction ended later: then the LSN is the last.`,
		Example: "  strata at '2026-01-01 12:00'\n  strata basebackup --lsn $(strata at --json 2026-01-01T12:00:00Z | jq -r .lsn) --output noon.tar",
		Args:    exactArgs(1),
	}
	f.register(c.Flags())
	f.redo.register(c.Flags())
	c.RunE = func(cmd *cobra.Command, args []string) error {
		var at timeValue
		if err := at.Set(args[0]); err != nil {
			return usageError{fmt.Errorf("at: %w", err)}
		}
		return f.withTimeline(cmd, readOnly, func(tl *openedTimeline) error {
			m, err := findTime(cmd.Context(), tl, at.at)
			if err != nil {
				return fmt.Errorf("at: %w", err)
			}
			if !f.json {
				if err := describeMoment(cmd.OutOrStdout(), &m, at.at); err != nil {
					return err
				}
			}
			out := closing{name: "at"}.add("timeline", m.timeline.ID).add("lsn", m.LSN).add("kind", m.Kind.String())
			if m.Kind == strata.TimePresent {
				out = out.add("next", m.Next.Record.End).add("next_time", m.Next.Time().Format(time.RFC3339Nano))
			}
			return out.write(cmd.OutOrStdout(), f.json)
		})
	}
	return c
}

// describeMoment says which record it is that a time stops before.
func describeMoment(w io.Writer, m *moment, at time.Time) error {
	if m.Kind == strata.TimeFuture {
		_, err := fmt.Fprintf(w, "No transaction of timeline %s ended after %s; it ends at %s.\n", m.timeline.Name, at.Format(time.RFC3339Nano), m.LSN)
		return err
	}
	what := "commit"
	if m.Next.Aborted {
		what = "abort"
	}
	_, err := fmt.Fprintf(w, "State %s of timeline %s. The next record that ends a transaction later than %s is the %s that ends at %s: %s.\n",
		m.LSN, m.timeline.Name, at.Format(time.RFC3339Nano), what, m.Next.Record.End, m.Next.Time().In(at.Location()).Format(time.RFC3339Nano))
	return err
}
