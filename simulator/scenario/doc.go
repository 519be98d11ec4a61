// Package scenario has the named workloads on which strategies are compared.
package scenario
