// Package plannertest has what every compaction.Strategy must pass. World is a timeline in memory that knows each entry
// of each layer and what reads must give; Run lets a strategy plan for worlds with random histories, does its jobs, and looks
// at everything after each: the checker must agree, reads must stay, plans must not depend on the order of layers, and planning
// and doing in turns must come to an end.
package plannertest
