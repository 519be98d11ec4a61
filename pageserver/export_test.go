package pageserver

// SetSocketRoom says what the sockets of the server and of a test's clients hold, which must be so.
func (s *Server) SetSocketRoom(n int64) { s.socketRoom = n }
