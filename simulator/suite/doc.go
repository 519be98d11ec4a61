// Package suite runs scenarios under strategies, several at a time, and shows how they compare: as a table, as JSON and
// CSV, and as a folder of pictures.
package suite
