package sluice

import "time"

const (
	// leastCredit is the first credit of a consumer, so that idle consumers share a burst.
	leastCredit = 16
	// doubleWithin: the credit is doubled if all of it was settled within this time.
	doubleWithin = time.Second
	// creditEvery is how often credit may grow; it shrinks by what was measured over shrinkAfter of work.
	creditEvery = 100 * time.Millisecond
	growAfter   = 50 * time.Millisecond
	shrinkAfter = time.Second
)

// creditMeter computes the credit. It begins small, doubles each time when all of it is settled quickly, and otherwise
// follows the rate of settlements while the consumer holds messages: about the messages of a second.
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

// newCreditMeter returns a meter whose credit is at most most, and enough for every handler.
func newCreditMeter(most, concurrency int, now func() time.Time) *creditMeter {
	least := min(max(leastCredit, 2*concurrency), most)
	return &creditMeter{least: least, max: most, credit: least, now: now}
}

// hold is called when messages have arrived. isFirst: the consumer held none before.
func (m *creditMeter) hold(count int) (isFirst bool) {
	isFirst = m.held == 0 && count > 0
	if isFirst {
		m.busySince = m.now()
	}
	m.held += count
	return isFirst
}

// settle is called when a message is settled. isGrown: the credit has grown.
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

// isAllHeld: the broker sends no message before one is settled.
func (m *creditMeter) isAllHeld() bool { return m.held >= m.credit && m.credit < m.max }

// grow raises the credit for a caller that settles nothing before it has more messages.
func (m *creditMeter) grow() {
	m.credit = min(2*max(m.credit, m.held), m.max)
	m.restart(m.now())
}

// busyAt is how long the consumer held messages in this window.
func (m *creditMeter) busyAt(now time.Time) time.Duration {
	if m.held > 0 {
		return m.busy + now.Sub(m.busySince)
	}
	return m.busy
}

func (m *creditMeter) restart(now time.Time) { m.busy, m.settled, m.busySince = 0, 0, now }

// drop is called when messages are no longer held, and were not settled.
func (m *creditMeter) drop(count int) {
	m.held -= count
	if m.held == 0 && count > 0 {
		m.busy += m.now().Sub(m.busySince)
	}
}

// adjust computes the credit again. It ignores small changes.
func (m *creditMeter) adjust(now time.Time) {
	busy := m.busyAt(now)
	if busy < growAfter {
		return
	}
	// Twice the messages of a second, because released credit takes time to reach the broker.
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
