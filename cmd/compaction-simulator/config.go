package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	sim "github.com/stratapg/strata/simulator"
)

// decode reads a scenario. A name that is none of a scenario's is an error.
func decode(raw []byte) (c sim.Config, err error) {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(&c); err != nil {
		return c, fmt.Errorf("scenario: %w", err)
	}
	return c, nil
}

// set changes one value of a scenario: NAME=VALUE, where NAME is the place in the JSON with dots between and VALUE is JSON or text.
func set(c sim.Config, assignment string) (sim.Config, error) {
	name, text, ok := strings.Cut(assignment, "=")
	if !ok {
		return c, fmt.Errorf("--set %s: want NAME=VALUE", assignment)
	}
	raw, err := json.Marshal(c)
	if err != nil {
		return c, err
	}
	var tree any
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	if err := d.Decode(&tree); err != nil {
		return c, err
	}
	var value any
	v := json.NewDecoder(strings.NewReader(text))
	v.UseNumber()
	if v.Decode(&value) != nil || v.More() {
		value = text
	}
	if tree, err = place(tree, strings.Split(name, "."), value); err != nil {
		return c, fmt.Errorf("--set %s: %w", assignment, err)
	}
	if raw, err = json.Marshal(tree); err != nil {
		return c, err
	}
	return decode(raw)
}

// place puts a value into a tree of JSON.
func place(tree any, path []string, value any) (any, error) {
	if len(path) == 0 {
		return value, nil
	}
	switch t := tree.(type) {
	case nil:
		return place(map[string]any{}, path, value)
	case map[string]any:
		sub, err := place(t[path[0]], path[1:], value)
		t[path[0]] = sub
		return t, err
	case []any:
		i, err := strconv.Atoi(path[0])
		if err != nil || i < 0 || i >= len(t) {
			return nil, fmt.Errorf("%q is none of the %d places here", path[0], len(t))
		}
		t[i], err = place(t[i], path[1:], value)
		return t, err
	}
	return nil, fmt.Errorf("there is nothing below %v", tree)
}
