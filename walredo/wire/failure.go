package wire

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
	"github.com/stratapg/strata/walredo"
)

// Code says what kind of failure a failure page tells of.
type Code uint8

// The codes. Those that a reader does not know are CodeOther to it.
const (
	CodeOther Code = iota
	CodeUnsupported
	CodeCorrupt
	CodeNoBase
)

// Failure is what a worker answers instead of a page:
//
//	offset 0                8                           24      25     26     27      28       36         38
//	      +----------------+---------------------------+-------+------+------+-------+--------+----------+------+
//	      | FF * 8 (pd_lsn)| "strata redo err" and a 0 | code  | rmgr | info | 0     | LSN u64| length u16| text |
//	      +----------------+---------------------------+-------+------+------+-------+--------+----------+------+
//
// LSN is the end of the record to blame, or 0. No page has the highest LSN there is, as none lies behind it.
type Failure struct {
	Code Code
	Rmgr pg.Rmgr
	Info uint8
	LSN  page.LSN
	Text string
}

const (
	failureMagic = "\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFFstrata redo err\x00"

	offCode = len(failureMagic)
	offRmgr = offCode + 1
	offInfo = offCode + 2
	offLSN  = offCode + 4
	offLen  = offLSN + 8
	offText = offLen + 2

	// maxText keeps the text to what a log line bears.
	maxText = 2048
)

// FailureOf describes an error.
func FailureOf(err error) Failure {
	f := Failure{Text: err.Error()}
	var e *walredo.Error
	if errors.As(err, &e) {
		f.LSN, f.Rmgr, f.Info, f.Text = e.LSN, e.Rmgr, e.Info, e.Err.Error()
	}
	switch {
	case errors.Is(err, walredo.ErrUnsupported):
		f.Code = CodeUnsupported
	case errors.Is(err, walredo.ErrCorrupt):
		f.Code = CodeCorrupt
	case errors.Is(err, walredo.ErrNoBase):
		f.Code = CodeNoBase
	}
	return f
}

// Put writes the failure page over p, which must be AnswerSize long.
func (f *Failure) Put(p []byte) {
	text := f.Text
	if len(text) > maxText {
		text = text[:maxText]
	}
	clear(p)
	copy(p, failureMagic)
	p[offCode], p[offRmgr], p[offInfo] = byte(f.Code), byte(f.Rmgr), f.Info
	be.PutUint64(p[offLSN:], uint64(f.LSN))
	be.PutUint16(p[offLen:], uint16(len(text)))
	copy(p[offText:], text)
}

// ParseFailure looks whether an answer is a failure page and reads it.
func ParseFailure(p []byte) (Failure, bool) {
	if len(p) != AnswerSize || !bytes.HasPrefix(p, []byte(failureMagic)) {
		return Failure{}, false
	}
	n := min(int(be.Uint16(p[offLen:])), maxText)
	return Failure{
		Code: Code(p[offCode]), Rmgr: pg.Rmgr(p[offRmgr]), Info: p[offInfo],
		LSN: page.LSN(be.Uint64(p[offLSN:])), Text: string(p[offText : offText+n]),
	}, true
}

// Err gives the error that the failure tells of.
func (f *Failure) Err(key page.Key) *walredo.Error {
	e := &walredo.Error{Key: key, LSN: f.LSN, Rmgr: f.Rmgr, Info: f.Info}
	switch f.Code {
	case CodeUnsupported:
		e.Err = workerError{f.Text, walredo.ErrUnsupported}
	case CodeCorrupt:
		e.Err = workerError{f.Text, walredo.ErrCorrupt}
	case CodeNoBase:
		e.Err = workerError{f.Text, walredo.ErrNoBase}
	default:
		e.Err = fmt.Errorf("the worker: %s", f.Text)
	}
	return e
}

// workerError is a worker's text with what it means to us.
type workerError struct {
	text string
	is   error
}

func (e workerError) Error() string { return "the worker: " + e.text }

func (e workerError) Unwrap() error { return e.is }
