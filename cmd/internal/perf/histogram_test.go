package perf

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

func TestHistogramBuckets(t *testing.T) {
	for _, v := range []uint64{0, 1, 127, 128, 255, 256, 257, 511, 512, 1000, 123456789, math.MaxInt64} {
		i := bucketOf(v)
		if i >= histogramBuckets {
			t.Fatalf("%d is in bucket %d of %d", v, i, histogramBuckets)
		}
		if middle := bucketMiddle(i); math.Abs(float64(middle)-float64(v)) > float64(v)/200 {
			t.Errorf("%d is in bucket %d around %d", v, i, middle)
		}
	}
	for i := range histogramBuckets - 1 {
		if bucketOf(uint64(bucketMiddle(i))) != i {
			t.Fatalf("the middle of bucket %d lies in bucket %d", i, bucketOf(uint64(bucketMiddle(i))))
		}
	}
}

func TestHistogramQuantilesAgreeWithSorting(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var a, b, all Histogram
	var values []int64
	for i := range 20000 {
		v := int64(math.Exp(rng.Float64() * 20))
		values = append(values, v)
		if i%3 == 0 {
			a.Record(v)
		} else {
			b.Record(v)
		}
	}
	all.Add(&a)
	all.Add(&b)
	slices.Sort(values)
	for _, q := range []float64{0, 0.5, 0.95, 0.99, 0.999, 1} {
		want := values[max(0, int(math.Ceil(q*float64(len(values))))-1)]
		got := all.Quantile(q)
		if math.Abs(float64(got-want)) > float64(want)*0.01 {
			t.Errorf("quantile %v is %d, want %d within 1 %%", q, got, want)
		}
	}
	if all.min != values[0] || all.max != values[len(values)-1] || all.total != 20000 {
		t.Errorf("min %d, max %d, total %d", all.min, all.max, all.total)
	}
}

func TestHistogramOfNothing(t *testing.T) {
	var h, o Histogram
	h.Add(&o)
	if h.Quantile(0.99) != 0 {
		t.Error("a quantile of nothing is not 0")
	}
	h.Record(-5)
	if h.Quantile(1) != 0 || h.total != 1 {
		t.Error("a negative duration does not count as 0")
	}
}
