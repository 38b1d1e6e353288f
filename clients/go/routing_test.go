package sluice

import (
	"fmt"
	"strings"
	"testing"

	"github.com/sluice-mq/sluice/clients/go/sluicev1"
)

// Worked out apart from the code. They never change: stored messages stand where they were routed.
var hashVectors = []struct {
	key  string
	hash uint32
}{
	{"", 2872998923},
	{"a", 444641715},
	{"b", 2193908274},
	{"order-1", 2449496732},
	{"order-2", 2010665664},
	{"\x00", 91794203},
	{"schlüssel", 1660859099},
	{strings.Repeat("0123456789", 10), 2144348767},
}

func TestKeysAreHashedAsTheBrokerDoes(t *testing.T) {
	for _, vector := range hashVectors {
		equal(t, hashKey([]byte(vector.key)), vector.hash, fmt.Sprintf("hash of %q", vector.key))
		equal(t, PartitionOfKey([]byte(vector.key), 16), vector.hash%16, "of 16")
		equal(t, PartitionOfKey([]byte(vector.key), 7), vector.hash%7, "of 7")
	}
}

func rangeOf(partition uint32, first, last uint64) *sluicev1.OffsetRange {
	return &sluicev1.OffsetRange{Partition: partition, FirstOffset: first, LastOffset: last}
}

func TestPlacesOfABatch(t *testing.T) {
	// Of four partitions, "a" goes to 3, "b" to 2 and "order-1" to 0.
	a, b, c := int64(444641715), int64(2193908274), int64(2449496732)
	cases := []struct {
		name   string
		hashes []int64
		count  int
		ranges []*sluicev1.OffsetRange
		want   []place
	}{
		{"no keys", nil, 3, []*sluicev1.OffsetRange{rangeOf(1, 10, 12)}, []place{{1, 10}, {1, 11}, {1, 12}}},
		{"keys of two partitions", []int64{a, b, a}, 3,
			[]*sluicev1.OffsetRange{rangeOf(2, 5, 5), rangeOf(3, 8, 9)}, []place{{3, 8}, {2, 5}, {3, 9}}},
		{"without a key among keys, in a partition of its own", []int64{a, keyless, keyless}, 3,
			[]*sluicev1.OffsetRange{rangeOf(1, 0, 1), rangeOf(3, 7, 7)}, []place{{3, 7}, {1, 0}, {1, 1}}},
		{"without a key in the partition of a key", []int64{a, keyless, b}, 3,
			[]*sluicev1.OffsetRange{rangeOf(2, 4, 4), rangeOf(3, 7, 8)}, []place{{3, 7}, {3, 8}, {2, 4}}},
		{"a partition in two pieces", []int64{a, b, a, a}, 4,
			[]*sluicev1.OffsetRange{rangeOf(2, 4, 4), rangeOf(3, 7, 8), rangeOf(3, 20, 20)},
			[]place{{3, 7}, {2, 4}, {3, 8}, {3, 20}}},
		{"too few", nil, 3, []*sluicev1.OffsetRange{rangeOf(1, 10, 11)}, nil},
		{"two ranges that no key explains", nil, 3, []*sluicev1.OffsetRange{rangeOf(1, 10, 11), rangeOf(2, 0, 0)}, nil},
		{"a partition that the keys don't go to", []int64{a, b}, 2,
			[]*sluicev1.OffsetRange{rangeOf(0, 1, 1), rangeOf(3, 1, 1)}, nil},
		{"more partitions than were known", []int64{c, a}, 2,
			[]*sluicev1.OffsetRange{rangeOf(3, 1, 1), rangeOf(12, 1, 1)}, nil},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			places, ok := placesOf(c.count, c.hashes, c.ranges, 4)
			equal(t, ok, c.want != nil, "found")
			equal(t, fmt.Sprint(places), fmt.Sprint(c.want), "places")
		})
	}
}
