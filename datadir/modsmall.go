package datadir

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/stratapg/strata/page"
)

// AddTwoPhase stores the state of a prepared transaction (without a CRC at its end). One that is known is
// replaced.
func (m *Modification) AddTwoPhase(ctx context.Context, xid uint64, state []byte) error {
	xids, err := m.TwoPhase(ctx)
	if err != nil {
		return err
	}
	if i, ok := slices.BinarySearch(xids, xid); !ok {
		m.dirs.twoPhase = slices.Insert(xids, i, xid)
		m.dirs.twoPhaseDirty, m.dirs.dirty = true, true
	}
	m.batch.PutImage(page.TwoPhaseKey(xid), m.cur.End, state)
	return nil
}

// DropTwoPhase removes a prepared transaction. An unknown one is no error.
func (m *Modification) DropTwoPhase(ctx context.Context, xid uint64) error {
	xids, err := m.TwoPhase(ctx)
	if err != nil {
		return err
	}
	if i, ok := slices.BinarySearch(xids, xid); ok {
		m.dirs.twoPhase = slices.Delete(xids, i, i+1)
		m.dirs.twoPhaseDirty, m.dirs.dirty = true, true
	}
	return nil
}

// TwoPhase lists the prepared transactions in ascending order. The caller must not keep or change them.
func (m *Modification) TwoPhase(ctx context.Context) ([]uint64, error) {
	if !m.dirs.twoPhaseRead {
		b, err := m.get(ctx, page.TwoPhaseDirKey)
		if err != nil {
			return nil, err
		}
		if m.dirs.twoPhase, err = DecodeTwoPhase(m.version, b); err != nil {
			return nil, err
		}
		m.dirs.twoPhaseRead = true
	}
	return m.dirs.twoPhase, nil
}

// PutCheckPoint and PutControlFile store the CheckPoint struct and pg_control.
func (m *Modification) PutCheckPoint(b []byte)  { m.batch.PutImage(page.CheckpointKey, m.cur.End, b) }
func (m *Modification) PutControlFile(b []byte) { m.batch.PutImage(page.ControlFileKey, m.cur.End, b) }

// originSize is the length of a replication origin's progress.
const originSize = 8

// PutOrigin stores the progress of a replication origin; page.InvalidLSN stands for none.
func (m *Modification) PutOrigin(id uint16, lsn page.LSN) {
	m.putSmall(page.OriginKey(id), binary.BigEndian.AppendUint64(nil, uint64(lsn)))
}

// PutAuxFile stores an auxiliary file; empty content removes it.
func (m *Modification) PutAuxFile(ctx context.Context, path string, content []byte) error {
	if m.elsewhere() {
		return nil
	}
	if len(content) == 0 {
		content = nil
	}
	return m.putFile(ctx, page.AuxKey(path), path, content)
}

// PutClusterFile stores a cluster file; nil content removes it.
func (m *Modification) PutClusterFile(ctx context.Context, path string, content []byte) error {
	return m.putFile(ctx, page.ClusterFileKey(path), path, content)
}

func (m *Modification) putFile(ctx context.Context, k page.Key, path string, content []byte) error {
	old, err := m.get(ctx, k)
	if err != nil && !IsNotFound(err) {
		return err
	}
	fs, err := DecodeFiles(old)
	if err != nil {
		return fmt.Errorf("%s: %w", k.Describe(), err)
	}
	v := EncodeFiles(putFile(fs, path, bytes.Clone(content)))
	if !bytes.Equal(v, old) {
		m.putSmall(k, v)
	}
	return nil
}

// AdvanceOrigin moves the progress of a replication origin forward, with force also backward.
func (m *Modification) AdvanceOrigin(ctx context.Context, id uint16, lsn page.LSN, force bool) error {
	b, err := m.get(ctx, page.OriginKey(id))
	if err != nil && !IsNotFound(err) {
		return err
	}
	old := page.InvalidLSN
	if len(b) == originSize {
		old = page.LSN(binary.BigEndian.Uint64(b))
	}
	if lsn > old || force && lsn != old {
		m.PutOrigin(id, lsn)
	}
	return nil
}
