package sluice

import "github.com/sluice-mq/sluice/clients/go/sluicev1"

// hashKey is 32-bit FNV-1a, then the finalizer of MurmurHash3: a part of the protocol that must not change.
func hashKey(key []byte) uint32 {
	hash := uint32(0x811c9dc5)
	for _, b := range key {
		hash = (hash ^ uint32(b)) * 0x01000193
	}
	hash = (hash ^ hash>>16) * 0x85ebca6b
	hash = (hash ^ hash>>13) * 0xc2b2ae35
	return hash ^ hash>>16
}

// PartitionOfKey is the partition of a key in a topic with so many of them. A key of no bytes has none: such messages
// are spread by the broker.
func PartitionOfKey(key []byte, partitionCount uint32) uint32 {
	return hashKey(key) % partitionCount
}

// place is the partition and offset of a message.
type place struct {
	partition uint32
	offset    uint64
}

// keyless stands for the hash of a message without a key.
const keyless = -1

// placesOf computes the places of the messages of a batch, from the ranges of its receipt. In each partition the
// messages are in their order. Messages without a key are together, in the partition that has more messages than its
// keys explain. hashes is nil if no message has a key. False if the ranges contradict the number of partitions, because
// it has grown.
func placesOf(count int, hashes []int64, ranges []*sluicev1.OffsetRange, partitionCount uint32) ([]place, bool) {
	if len(ranges) == 1 {
		only := ranges[0]
		if rangeLength(only) != uint64(count) {
			return nil, false
		}
		places := make([]place, count)
		for i := range places {
			places[i] = place{only.GetPartition(), only.GetFirstOffset() + uint64(i)}
		}
		return places, true
	}
	if hashes == nil {
		return nil, false
	}
	rest, ok := keylessPartition(hashes, ranges, partitionCount)
	if !ok {
		return nil, false
	}
	cursors := map[uint32]*rangeCursor{}
	for _, r := range ranges {
		cursor := cursors[r.GetPartition()]
		if cursor == nil {
			cursor = &rangeCursor{next: r.GetFirstOffset()}
			cursors[r.GetPartition()] = cursor
		}
		cursor.ranges = append(cursor.ranges, r)
	}
	places := make([]place, count)
	for i, hash := range hashes {
		partition := rest
		if hash != keyless {
			partition = uint32(hash) % partitionCount
		}
		places[i] = place{partition, cursors[partition].take()}
	}
	return places, true
}

// keylessPartition checks the ranges against the keys, and returns the partition of the messages without a key.
func keylessPartition(hashes []int64, ranges []*sluicev1.OffsetRange, partitionCount uint32) (uint32, bool) {
	left := map[uint32]int64{}
	for _, r := range ranges {
		left[r.GetPartition()] += int64(rangeLength(r))
	}
	keylessCount := int64(0)
	for _, hash := range hashes {
		if hash == keyless {
			keylessCount++
		} else {
			left[uint32(hash)%partitionCount]--
		}
	}
	rest, isFound := uint32(0), false
	for partition, count := range left {
		if count == 0 {
			continue
		}
		if isFound || count != keylessCount {
			return 0, false
		}
		rest, isFound = partition, true
	}
	return rest, isFound == (keylessCount > 0)
}

// rangeCursor gives out the offsets of one partition's ranges, one after the other.
type rangeCursor struct {
	ranges []*sluicev1.OffsetRange
	next   uint64
}

func (c *rangeCursor) take() uint64 {
	offset := c.next
	if offset < c.ranges[0].GetLastOffset() {
		c.next++
	} else if len(c.ranges) > 1 {
		c.ranges = c.ranges[1:]
		c.next = c.ranges[0].GetFirstOffset()
	}
	return offset
}

func rangeLength(r *sluicev1.OffsetRange) uint64 {
	return r.GetLastOffset() - r.GetFirstOffset() + 1
}
