package sluice

import (
	"context"
	"math/rand/v2"
	"time"
)

// retries counts tries since something worked, and says how long to pause before the next one.
type retries struct {
	min, max time.Duration
	failures int
}

// pause doubles with every failure, with jitter; what the broker asked for counts if it is longer.
func (r *retries) pause(asked time.Duration) time.Duration {
	most := r.max
	if r.failures < 30 {
		most = min(r.max, r.min<<r.failures)
	}
	r.failures++
	return max(asked, time.Duration(float64(most)*(0.5+rand.Float64()/2)))
}

func (r *retries) worked() { r.failures = 0 }

// sleep is false when ctx ended first.
func sleep(ctx context.Context, pause time.Duration) bool {
	if pause <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
