package dist

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestOf(t *testing.T) {
	var hundred []time.Duration
	for i := 100; i >= 1; i-- {
		hundred = append(hundred, time.Duration(i)*time.Millisecond)
	}
	for name, c := range map[string]struct {
		in   []time.Duration
		want Dist
	}{
		"none":    {nil, Dist{}},
		"one":     {[]time.Duration{1500 * time.Microsecond}, Dist{1, 1.5, 1.5, 1.5, 1.5, 1.5, 1.5}},
		"two":     {[]time.Duration{4 * time.Millisecond, 2 * time.Millisecond}, Dist{2, 2, 2, 4, 4, 4, 3}},
		"hundred": {hundred, Dist{100, 1, 50, 90, 99, 100, 50.5}},
	} {
		if got := Of(c.in); got != c.want {
			t.Errorf("%s: got %+v, want %+v", name, got, c.want)
		}
	}
}

// Each percentile is a measured value, they grow, and at least p percent of all values do not exceed it.
func TestPercentiles(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := rapid.SliceOfN(rapid.Map(rapid.IntRange(0, 1000), func(i int) time.Duration { return time.Duration(i) * time.Millisecond }), 1, 300).Draw(t, "in")
		d := Of(slices.Clone(in))
		last := d.Min
		for p, v := range map[int]float64{50: d.P50, 90: d.P90, 99: d.P99} {
			if !slices.ContainsFunc(in, func(x time.Duration) bool { return Ms(x) == v }) {
				t.Fatalf("p%d %v was never measured", p, v)
			}
			below := 0
			for _, x := range in {
				if Ms(x) <= v {
					below++
				}
			}
			if below*100 < p*len(in) {
				t.Fatalf("p%d %v: only %d of %d do not exceed it", p, v, below, len(in))
			}
		}
		for _, v := range []float64{d.P50, d.P90, d.P99, d.Max} {
			if v < last {
				t.Fatalf("%+v does not grow", d)
			}
			last = v
		}
	})
}

func TestSpread(t *testing.T) {
	for _, c := range []struct {
		in   []float64
		want Spread
	}{{nil, Spread{}}, {[]float64{3, 1, 2}, Spread{3, 2, 1, 3}}, {[]float64{4, 1, 2, 3}, Spread{4, 2.5, 1, 4}}} {
		if got := SpreadOf(c.in); got != c.want {
			t.Errorf("%v: got %+v, want %+v", c.in, got, c.want)
		}
	}
}
