// Package featuregates resolves the kubelet's feature gates into an immutable
// set. Nothing here is global: the set is made once from the configuration and
// handed down, so a plan that depends on a gate gets it as an input.
package featuregates

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"k8s.io/component-base/featuregate"

	"github.com/troupe-dev/troupe/cmd/troupe/suggest"
)

type stage int

const (
	alpha stage = iota
	beta
	ga
	deprecated
)

const (
	on, off      = true, false
	locked, free = true, false
)

type gate struct {
	name    string
	stage   stage
	initial bool
	locked  bool
}

// Names of the two gates that stand for a whole stage.
const (
	allAlpha = "AllAlpha"
	allBeta  = "AllBeta"
)

// Gates is a resolved, immutable set of gates. The zero value has every gate
// off and is only useful in tests.
type Gates struct {
	enabled map[string]bool
	stages  map[string]stage
}

// Enabled reports whether the named gate is on. An unknown name is off: names
// are checked once, in Resolve, and by the test that reads the sources.
func (g Gates) Enabled(name string) bool { return g.enabled[name] }

// Known reports whether the kubelet 1.36 has a gate of this name.
func (g Gates) Known(name string) bool { _, ok := g.enabled[name]; return ok }

// All returns a fresh map from gate name to value.
func (g Gates) All() map[string]bool { return maps.Clone(g.enabled) }

// Defaults returns the set with nothing configured.
func Defaults() Gates {
	g, _, err := Resolve(nil)
	if err != nil {
		panic(err) // the table itself contradicts its dependencies; a test covers it
	}
	return g
}

// Resolve applies what the user configured to the defaults. AllAlpha and
// AllBeta move every gate of their stage that is not named itself. Warnings
// are sentences about gates that are set but will go away. The error joins
// everything that is wrong: unknown names with a suggestion, locked gates,
// gates that are on while one that they need is off.
func Resolve(configured map[string]bool) (Gates, []string, error) {
	table := known()
	g := Gates{enabled: make(map[string]bool, len(table)), stages: make(map[string]stage, len(table))}
	locks := map[string]bool{}
	for _, row := range table {
		g.enabled[row.name], g.stages[row.name] = row.initial, row.stage
		if row.locked {
			locks[row.name] = true
		}
	}
	for name, s := range map[string]stage{allAlpha: alpha, allBeta: beta} {
		value, set := configured[name]
		if !set {
			continue
		}
		for _, row := range table {
			if row.stage == s && !row.locked {
				g.enabled[row.name] = value
			}
		}
	}

	var errs []error
	var warnings []string
	for _, name := range slices.Sorted(maps.Keys(configured)) {
		value := configured[name]
		if name == allAlpha || name == allBeta {
			continue
		}
		switch s, ok := g.stages[name]; {
		case !ok:
			errs = append(errs, unknown(name, table))
		case locks[name] && g.enabled[name] != value:
			errs = append(errs, fmt.Errorf("featureGates.%s: is locked to %t in Kubernetes 1.36; remove it", name, g.enabled[name]))
		default:
			g.enabled[name] = value
			if s == ga {
				warnings = append(warnings, fmt.Sprintf("feature gate %s is GA: setting it has an end, a later version will not know it", name))
			} else if s == deprecated {
				warnings = append(warnings, fmt.Sprintf("feature gate %s is deprecated: a later version will not know it", name))
			}
		}
	}
	dependencies := needs()
	for _, name := range slices.Sorted(maps.Keys(dependencies)) {
		if !g.enabled[name] {
			continue
		}
		var missing []string
		for _, need := range dependencies[name] {
			if !g.enabled[need] {
				missing = append(missing, need)
			}
		}
		if len(missing) > 0 {
			errs = append(errs, fmt.Errorf("featureGates.%s: is on, but needs %s, which is off; set both or neither", name, strings.Join(missing, " and ")))
		}
	}
	if len(errs) > 0 {
		return Gates{}, warnings, errors.Join(errs...)
	}
	return g, warnings, nil
}

func unknown(name string, table []gate) error {
	names := []string{allAlpha, allBeta}
	for _, row := range table {
		names = append(names, row.name)
	}
	if near := suggest.Nearest(name, names); near != "" {
		return fmt.Errorf("featureGates.%s: the kubelet 1.36 has no such gate; did you mean %s?", name, near)
	}
	return fmt.Errorf("featureGates.%s: the kubelet 1.36 has no such gate; remove it", name)
}

// Component returns the same values as the type that the Kubernetes component
// libraries take (logging, tracing). It is a copy and may be changed freely.
func (g Gates) Component() featuregate.MutableFeatureGate {
	stages := map[stage]featuregate.FeatureSpec{
		alpha: {PreRelease: featuregate.Alpha}, beta: {PreRelease: featuregate.Beta},
		ga: {PreRelease: featuregate.GA}, deprecated: {PreRelease: featuregate.Deprecated},
	}
	specs := make(map[featuregate.Feature]featuregate.FeatureSpec, len(g.enabled))
	for name, value := range g.enabled {
		spec := stages[g.stages[name]]
		spec.Default = value
		specs[featuregate.Feature(name)] = spec
	}
	out := featuregate.NewFeatureGate()
	if err := out.Add(specs); err != nil {
		panic(err) // names are unique by construction
	}
	return out
}
