package sluice

import (
	"context"
	"math/rand/v2"
	"time"
)

// retries counts the failed attempts since the last success, and computes the backoff before the next attempt.
type retries struct {
	min, max time.Duration
	failures int
}

// pause doubles with each failure, with jitter. If the broker asked for a longer delay, it is that delay.
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
