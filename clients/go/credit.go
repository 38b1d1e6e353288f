package sluice

import "time"

const (
	// leastCredit is what a consumer begins with, so that idle ones share a burst.
	leastCredit = 16
	// doubleWithin: credit that was settled within so long is doubled.
	doubleWithin = time.Second
	// creditEvery is how often credit may grow; it shrinks by what was measured over shrinkAfter of work.
	creditEvery = 100 * time.Millisecond
	growAfter   = 50 * time.Millisecond
	shrinkAfter = time.Second
)

// creditMeter begins with little, doubles the credit as often as all of it is settled quickly, measures how fast messages
// are settled while there are any, and grants about a second's worth.
type creditMeter struct {
	least, max int
	credit     int
	now        func() time.Time

	// held messages: queued or in hand.
	held      int
	busySince time.Time
	// busy is how long some were held in this window, before busySince; settled counts what was settled in it.
	busy    time.Duration
	settled int
}

// newCreditMeter grants most at most, and so much that no handler has to wait for a message.
func newCreditMeter(most, concurrency int, now func() time.Time) *creditMeter {
	least := min(max(leastCredit, 2*concurrency), most)
	return &creditMeter{least: least, max: most, credit: least, now: now}
}

// hold is when messages have come. isFirst: there were none before.
func (m *creditMeter) hold(count int) (isFirst bool) {
	isFirst = m.held == 0 && count > 0
	if isFirst {
		m.busySince = m.now()
	}
	m.held += count
	return isFirst
}

// settle is when one is done with. isGrown: there is more credit now.
func (m *creditMeter) settle() (isGrown bool) {
	m.settled++
	m.drop(1)
	if m.settled < m.credit || m.credit == m.max {
		return false
	}
	now := m.now()
	if m.busyAt(now) > doubleWithin {
		return false
	}
	m.credit = min(2*m.credit, m.max)
	m.restart(now)
	return true
}

// isAllHeld: nothing more comes before something is settled.
func (m *creditMeter) isAllHeld() bool { return m.held >= m.credit && m.credit < m.max }

// grow is for a caller that wants more before it settles what it has: it would wait for ever.
func (m *creditMeter) grow() {
	m.credit = min(2*max(m.credit, m.held), m.max)
	m.restart(m.now())
}

// busyAt is how long there were any in this window.
func (m *creditMeter) busyAt(now time.Time) time.Duration {
	if m.held > 0 {
		return m.busy + now.Sub(m.busySince)
	}
	return m.busy
}

func (m *creditMeter) restart(now time.Time) { m.busy, m.settled, m.busySince = 0, 0, now }

// drop is when messages go otherwise.
func (m *creditMeter) drop(count int) {
	m.held -= count
	if m.held == 0 && count > 0 {
		m.busy += m.now().Sub(m.busySince)
	}
}

// adjust sets the credit anew. It grows as soon as it is seen to be too small, and only changes by much.
func (m *creditMeter) adjust(now time.Time) {
	busy := m.busyAt(now)
	if busy < growAfter {
		return
	}
	// Twice of what is settled in a second: credit that comes back is on its way for a while.
	perSecond := float64(m.settled) / busy.Seconds()
	wanted := max(int(min(2*perSecond, float64(m.max))), m.least)
	switch {
	case wanted*4 > m.credit*5 || wanted > m.credit && wanted == m.max:
		m.credit = wanted
	case busy < shrinkAfter:
		return
	case wanted*4 < m.credit*3:
		m.credit = wanted
	}
	m.restart(now)
}
