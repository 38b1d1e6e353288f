package sluice

import (
	"sync"
	"time"

	"google.golang.org/grpc/mem"

	"github.com/sluice-mq/sluice/clients/go/sluicev1"
)

// batch has the messages of one request.
type batch struct {
	// wire has the messages as the request holds them, each with its tag and length.
	wire []byte
	// buffer is wire once the batch is closed. The transport has a share in it while it writes.
	buffer mem.Buffer
	count  int
	// bufferedBytes that its messages took from the buffer.
	bufferedBytes int
	// hashes of the keys, for the places in the receipt; nil while no message has a key.
	hashes []int64
	// results of the messages, allocated in chunks.
	results []Result
	// firstSequence is set when the batch is sent. It is the same when the batch is sent again, unless the epoch has
	// changed.
	firstSequence uint64
	// handedOverAt is the time of Send of the first message. Only set if the producer has a RetryTimeout.
	handedOverAt time.Time
	// copies were sent in this epoch and not answered. Each of them may still reach the broker.
	copies int
	// bareRefusals counts the times in a row that the batch was alone under way when the stream ended with a bare
	// RESOURCE_EXHAUSTED.
	bareRefusals int

	// done is closed when what follows is set.
	done chan struct{}
	err  error
	// skipped messages at the beginning were stored by an earlier attempt.
	skipped    int
	durability sluicev1.Durability
	// places of the other messages: as one range, or one by one if the batch is in several ranges.
	first  place
	places []place
	// hasPlaces is false if the ranges of the receipt contradict the number of partitions.
	hasPlaces bool
}

// wirePool has the buffers of batches that were answered: at full speed they are most of what is allocated.
type wirePool struct{ pool sync.Pool }

var wireBuffers = &wirePool{pool: sync.Pool{New: func() any { return new([]byte) }}}

func (p *wirePool) Get(length int) *[]byte {
	buffer := p.pool.Get().(*[]byte)
	if cap(*buffer) < length {
		*buffer = make([]byte, length)
	}
	*buffer = (*buffer)[:length]
	return buffer
}

func (p *wirePool) Put(buffer *[]byte) { p.pool.Put(buffer) }

// resultsAtOnce are allocated together. A caller that keeps one of them keeps all of them in memory.
const resultsAtOnce = 64

func newBatch() *batch {
	return &batch{wire: *wireBuffers.Get(0), done: make(chan struct{})}
}

// add encodes the message at the end of the batch. n is its encoded length.
func (b *batch) add(m *Message, n int) *Result {
	b.wire = appendMessage(b.wire, m, n)
	if len(m.Key) > 0 || b.hashes != nil {
		b.addHash(m.Key)
	}
	if len(b.results) == cap(b.results) {
		b.results = make([]Result, 0, min(resultsAtOnce, b.count+1))
	}
	b.results = append(b.results, Result{batch: b, index: b.count})
	b.count++
	return &b.results[len(b.results)-1]
}

func (b *batch) addHash(key []byte) {
	if b.hashes == nil {
		b.hashes = make([]int64, b.count, 2*b.count+8)
		for i := range b.hashes {
			b.hashes[i] = keyless
		}
	}
	hash := int64(keyless)
	if len(key) > 0 {
		hash = int64(hashKey(key))
	}
	b.hashes = append(b.hashes, hash)
}

func (b *batch) lastSequence() uint64 { return b.firstSequence + uint64(b.count) - 1 }

// locate finds the places in the receipt. It returns false if the ranges contradict the number of partitions.
func (b *batch) locate(receipt *sluicev1.PublishStreamResponse, partitionCount uint32) bool {
	b.durability = receipt.GetDurability()
	b.skipped = min(int(receipt.GetDuplicateCount()), b.count)
	count := b.count - b.skipped
	if count == 0 {
		return true
	}
	ranges := receipt.GetRanges()
	if len(ranges) == 1 && rangeLength(ranges[0]) == uint64(count) {
		b.first = place{ranges[0].GetPartition(), ranges[0].GetFirstOffset()}
		b.hasPlaces = true
		return true
	}
	hashes := b.hashes
	if hashes != nil {
		hashes = hashes[b.skipped:]
	}
	b.places, b.hasPlaces = placesOf(count, hashes, ranges, partitionCount)
	return b.hasPlaces
}

// storedBefore answers every waiting caller: an earlier try had stored the whole batch.
func (b *batch) storedBefore() {
	b.skipped = b.count
	b.answer()
}

func (b *batch) fail(err error) {
	b.err = err
	b.answer()
}

// close is called after the last message was added.
func (b *batch) close() {
	wire := b.wire
	b.buffer = mem.NewBuffer(&wire, wireBuffers)
}

// answer wakes every waiting caller.
func (b *batch) answer() {
	b.wire, b.hashes = nil, nil
	if b.buffer != nil {
		b.buffer.Free()
		b.buffer = nil
	}
	close(b.done)
}

// receipt of one message, after done.
func (b *batch) receipt(index int) Receipt {
	if index < b.skipped {
		return Receipt{Duplicate: true, Durability: b.durability}
	}
	receipt := Receipt{Durability: b.durability, HasPlace: b.hasPlaces}
	switch at := index - b.skipped; {
	case b.places != nil:
		receipt.Partition, receipt.Offset = b.places[at].partition, b.places[at].offset
	case b.hasPlaces:
		receipt.Partition, receipt.Offset = b.first.partition, b.first.offset+uint64(at)
	}
	return receipt
}
