package sluice

import (
	"testing"
	"time"
)

// meterAt runs a meter by a clock of its own.
func meterAt(most, concurrency int) (*creditMeter, func(time.Duration)) {
	now := time.Unix(1000, 0)
	m := newCreditMeter(most, concurrency, func() time.Time { return now })
	return m, func(d time.Duration) { now = now.Add(d) }
}

func TestCreditBeginsWithLittle(t *testing.T) {
	for _, c := range []struct{ most, concurrency, want int }{{10_000, 1, 16}, {10_000, 20, 40}, {5, 20, 5}} {
		m, _ := meterAt(c.most, c.concurrency)
		equal(t, m.credit, c.want, "at first")
	}
}

func TestCreditDoublesWhileAConsumerKeepsUp(t *testing.T) {
	m, pass := meterAt(1000, 1)
	m.hold(5000)
	for want := 32; want < 1000; want *= 2 {
		for range m.credit - 1 {
			equal(t, m.settle(), false, "grown before all of it was settled")
		}
		pass(time.Millisecond)
		equal(t, m.settle(), true, "grown")
		equal(t, m.credit, want, "credit")
	}
	for range m.credit {
		m.settle()
	}
	equal(t, m.credit, 1000, "the most")
}

func TestCreditGrowsWithTheSpeed(t *testing.T) {
	m, pass := meterAt(10_000, 1)
	m.hold(5000)
	pass(creditEvery)
	for range 15 { // 150 a second
		m.settle()
	}
	m.adjust(m.now())
	equal(t, m.credit, 300, "two seconds' worth")
}

func TestCreditShrinksForSlowHandlers(t *testing.T) {
	m, pass := meterAt(10_000, 1)
	m.credit = 1000
	m.hold(1000)
	for range 9 {
		pass(creditEvery)
		m.settle()
		m.adjust(m.now())
		equal(t, m.credit, 1000, "before a second is over")
	}
	pass(creditEvery)
	m.settle()
	m.adjust(m.now())
	equal(t, m.credit, 20, "two seconds' worth of 10 a second")
	for range 10 {
		pass(creditEvery)
		m.adjust(m.now())
	}
	equal(t, m.credit, 20, "a change that is not much")
	m.hold(1)
	m.settle()
	m.adjust(m.now())
	equal(t, m.credit, 20, "16 is not much less")
}

func TestCreditIsEnoughForEveryHandler(t *testing.T) {
	m, pass := meterAt(10_000, 100)
	m.hold(1000)
	pass(2 * time.Second)
	m.adjust(m.now())
	equal(t, m.credit, 200, "of handlers that never end")
	m, _ = meterAt(5, 100)
	equal(t, m.credit, 5, "never above the most")
}

func TestTimeWithoutMessagesDoesNotCount(t *testing.T) {
	m, pass := meterAt(10_000, 1)
	for range 100 { // One message a second, each handled in a millisecond.
		m.hold(1)
		pass(time.Millisecond)
		m.settle()
		pass(time.Second)
		m.adjust(m.now())
	}
	equal(t, m.credit, 2000, "of 1,000 a second")
}
