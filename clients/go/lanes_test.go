package sluice

import (
	"fmt"
	"strings"
	"testing"

	"github.com/sluice-mq/sluice/clients/go/sluicev1"
)

const (
	byPartition = sluicev1.Ordering_ORDERING_PARTITION
	byKey       = sluicev1.Ordering_ORDERING_KEY
	byNothing   = sluicev1.Ordering_ORDERING_NONE
)

func lanesOf(ordering sluicev1.Ordering, isSerial bool) *lanes {
	ls := newLanes()
	ls.ordering, ls.serial = ordering, isSerial
	return ls
}

// runOf has a message for each word, whose letter is the key; "-" has none.
func runOf(partition uint32, first uint64, words string) []Delivery {
	r := &run{partition: partition}
	var deliveries []Delivery
	for i, word := range strings.Fields(words) {
		d := Delivery{run: r, offset: first + uint64(i)}
		if word != "-" {
			d.Key = []byte(word)
		}
		deliveries = append(deliveries, d)
	}
	return deliveries
}

// takeAll is what can be taken without finishing any, as partition:offset.
func takeAll(ls *lanes) (taken []*Delivery, text string) {
	for d := ls.take(); d != nil; d = ls.take() {
		taken = append(taken, d)
	}
	return taken, textOf(taken)
}

func textOf(taken []*Delivery) string {
	var words []string
	for _, d := range taken {
		words = append(words, fmt.Sprintf("%d:%d", d.run.partition, d.offset))
	}
	return strings.Join(words, " ")
}

func TestOneAtATimeOfEachPartition(t *testing.T) {
	ls := lanesOf(byPartition, true)
	ls.add(runOf(0, 10, "a b c"))
	ls.add(runOf(1, 20, "a b"))
	taken, text := takeAll(ls)
	equal(t, text, "0:10 1:20", "at once")
	ls.finish(taken[1])
	_, text = takeAll(ls)
	equal(t, text, "1:21", "behind the second")
	ls.add(runOf(0, 13, "d"))
	for _, want := range []string{"0:11", "0:12", "0:13", ""} {
		ls.finish(taken[0])
		taken, text = takeAll(ls)
		equal(t, text, want, "behind the first")
	}
	equal(t, ls.queuedCount, 0, "queued")
}

func TestOneAtATimeOfEachKey(t *testing.T) {
	ls := lanesOf(byKey, true)
	ls.add(runOf(0, 0, "a b a - - a b"))
	taken, text := takeAll(ls)
	equal(t, text, "0:0 0:1 0:3 0:4", "at once")
	ls.finish(taken[0])
	ls.finish(taken[2])
	again, text := takeAll(ls)
	equal(t, text, "0:2", "behind a")
	ls.finish(again[0])
	ls.finish(taken[1])
	_, text = takeAll(ls)
	equal(t, text, "0:5 0:6", "the last of a and b")
}

func TestKeysThatAreDoneTakeNoRoom(t *testing.T) {
	ls := lanesOf(byKey, true)
	ls.add(runOf(0, 0, "a b c"))
	taken, _ := takeAll(ls)
	for _, d := range taken {
		ls.finish(d)
	}
	equal(t, len(ls.byID), 0, "lanes")
}

func TestNoOrder(t *testing.T) {
	ls := lanesOf(byNothing, true)
	ls.add(runOf(0, 0, "a a"))
	ls.add(runOf(1, 5, "a"))
	_, text := takeAll(ls)
	equal(t, text, "0:0 0:1 1:5", "at once")
}

func TestNothingBehindAFailedMessageBeforeItsAnswer(t *testing.T) {
	for _, isSerial := range []bool{true, false} {
		ls := lanesOf(byKey, isSerial)
		ls.add(runOf(0, 0, "a b"))
		taken, text := takeAll(ls)
		equal(t, text, "0:0 0:1", "at once")
		paused := ls.pause(taken[0])
		ls.finish(taken[0])
		ls.finish(taken[1])
		ls.add(runOf(0, 2, "a b a"))
		_, text = takeAll(ls)
		equal(t, text, "0:3", "while the answer is not there")
		// The answer: what is behind was taken back.
		equal(t, ls.drop(func(d *Delivery) bool { return d.offset == 2 }), 1, "dropped")
		ls.resume(paused)
		_, text = takeAll(ls)
		equal(t, text, "0:4", "what remains")
	}
}

func TestWhatIsTakenBackIsDropped(t *testing.T) {
	ls := lanesOf(byPartition, false)
	first, second := runOf(0, 0, "a b c d e"), runOf(1, 0, "a b")
	ls.add(first)
	ls.add(second)
	ls.take()
	dropped := ls.drop(within([]*sluicev1.OffsetRange{rangeOf(0, 0, 1), rangeOf(0, 3, 3), rangeOf(1, 1, 9)}))
	equal(t, dropped, 3, "dropped")
	equal(t, first[3].state, stateRevoked, "state")
	equal(t, ls.queuedCount, 3, "queued")
	held := map[uint32][]span{}
	ls.spans(held)
	equal(t, fmt.Sprint(held), "map[0:[{2 2} {4 4}] 1:[{0 0}]]", "held")
	_, text := takeAll(ls)
	equal(t, text, "0:2 0:4 1:0", "left")
}

func TestAHandlerOfAnOldSessionKeepsItsLane(t *testing.T) {
	ls := lanesOf(byPartition, true)
	ls.add(runOf(0, 0, "a b"))
	old := ls.take()
	equal(t, ls.drop(everything), 1, "dropped")
	ls.add(runOf(0, 0, "a b"))
	if d := ls.take(); d != nil {
		t.Fatalf("%d while a handler still has a message of the partition", d.offset)
	}
	ls.finish(old)
	_, text := takeAll(ls)
	equal(t, text, "0:0", "after it")
}
