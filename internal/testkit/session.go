package testkit

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/stratapg/strata/page"
)

// queryTimeout bounds one call; the longest are index builds and COPY of the workload.
const queryTimeout = 5 * time.Minute

// Session is a connection to a server. Its calls send their text as one simple query, so several statements
// in it are one transaction unless they say otherwise.
type Session struct {
	t    testing.TB
	conn *pgconn.PgConn
}

func (p *Postgres) connect(ctx context.Context, database string) (*pgconn.PgConn, error) {
	return pgconn.Connect(ctx, p.ConnString(database))
}

// Connect opens a session; it is closed at the end of the test.
func (p *Postgres) Connect(database string) *Session {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), queryTimeout)
	defer cancel()
	conn, err := p.connect(ctx, database)
	if err != nil {
		p.t.Fatal(err)
	}
	s := &Session{p.t, conn}
	p.t.Cleanup(s.Close)
	return s
}

// Close ends the session. It may be called twice.
func (s *Session) Close() {
	ctx, cancel := context.WithTimeout(context.Background(), queryTimeout)
	defer cancel()
	_ = s.conn.Close(ctx)
}

// Exec runs statements; a failure ends the test.
func (s *Session) Exec(sql string) {
	s.t.Helper()
	s.Query(sql)
}

// Each runs statements one by one, each in a transaction of its own unless they say otherwise.
func (s *Session) Each(statements ...string) {
	s.t.Helper()
	for _, sql := range statements {
		s.Query(sql)
	}
}

// Query runs statements and gives the rows of the last one as text; NULL is "".
func (s *Session) Query(sql string) [][]string {
	s.t.Helper()
	rows, err := s.Try(sql)
	if err != nil {
		s.t.Fatalf("%v, in: %.300s", err, sql)
	}
	return rows
}

// Try is Query for statements that may fail.
func (s *Session) Try(sql string) ([][]string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), queryTimeout)
	defer cancel()
	results, err := s.conn.Exec(ctx, sql).ReadAll()
	if err != nil {
		return nil, err
	}
	if len(results) == 0 {
		return nil, nil
	}
	last := results[len(results)-1]
	rows := make([][]string, 0, len(last.Rows))
	for _, r := range last.Rows {
		row := make([]string, len(r))
		for i, v := range r {
			row[i] = string(v)
		}
		rows = append(rows, row)
	}
	return rows, last.Err
}

// Value gives the first column of the first row, "" if there is none.
func (s *Session) Value(sql string) string {
	s.t.Helper()
	if rows := s.Query(sql); len(rows) > 0 && len(rows[0]) > 0 {
		return rows[0][0]
	}
	return ""
}

// Exec runs statements in a database in a session of their own.
func (p *Postgres) Exec(database, sql string) { p.t.Helper(); p.Query(database, sql) }

// Query runs statements in a database in a session of their own and gives the rows of the last one.
func (p *Postgres) Query(database, sql string) [][]string {
	p.t.Helper()
	s := p.Connect(database)
	defer s.Close()
	return s.Query(sql)
}

// Value gives the first column of the first row of a query.
func (p *Postgres) Value(database, sql string) string {
	p.t.Helper()
	s := p.Connect(database)
	defer s.Close()
	return s.Value(sql)
}

// LSN gives the server's insert position: the end of the WAL written so far.
func (p *Postgres) LSN() page.LSN {
	p.t.Helper()
	lsn, err := page.ParseLSN(p.Value("postgres", "select pg_current_wal_insert_lsn()"))
	if err != nil {
		p.t.Fatal(err)
	}
	return lsn
}
