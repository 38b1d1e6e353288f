package sluice

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"
)

func TestThoseWhoWaitForRoomStandInLine(t *testing.T) {
	ctx := testContext(t)
	var mu sync.Mutex
	r := &room{mu: &mu, maxBytes: 10}
	letIn := make(chan int, 3)
	join := func(ctx context.Context, number int) {
		go func() {
			mu.Lock()
			defer mu.Unlock()
			if r.wait(ctx, 8) == nil {
				letIn <- number
			} else {
				letIn <- -number
			}
		}()
		awaitThat(t, "in line", func() bool {
			mu.Lock()
			defer mu.Unlock()
			return len(r.line) == number
		})
	}
	mu.Lock()
	r.take(12) // A message may pass the limit.
	equal(t, r.isFull(), true, "full")
	mu.Unlock()
	join(ctx, 1)
	impatient, leave := context.WithCancel(ctx)
	join(impatient, 2)
	join(ctx, 3)
	leave()
	equal(t, <-letIn, -2, "who left")

	mu.Lock()
	r.free(12)
	// The first took 8 of 10, so the next was let in, too, and passed the limit.
	equal(t, r.used, 16, "used")
	equal(t, len(r.line), 0, "in line")
	mu.Unlock()
	equal(t, <-letIn+<-letIn, 1+3, "let in")

	mu.Lock()
	defer mu.Unlock()
	over := errors.New("over")
	r.close(over)
	equal(t, r.wait(ctx, 1), over, "who comes when there will be no room")
}

func TestPausesDoubleUpToTheLongest(t *testing.T) {
	r := retries{min: 50 * time.Millisecond, max: 5 * time.Second}
	for _, most := range []time.Duration{50, 100, 200, 400, 800, 1600, 3200, 5000, 5000} {
		most *= time.Millisecond
		if pause := r.pause(0); pause < most/2 || pause > most {
			t.Fatalf("%v is not between half of %v and all of it", pause, most)
		}
	}
	equal(t, r.pause(time.Minute), time.Minute, "what the broker asks for counts if it is longer")
	r.worked()
	if pause := r.pause(0); pause > 50*time.Millisecond {
		t.Fatalf("%v after it worked", pause)
	}
}
