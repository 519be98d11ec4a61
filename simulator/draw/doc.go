// Package draw shows a run: keys run to the right, LSNs upward, a rectangle per delta and a line per image. SVG makes small
// pictures of single states, Page an interactive page of all of them that needs nothing but itself. What comes out
// depends on the run alone: numbers have a fixed format.
package draw
