package hostile

import (
	"testing"
	"time"
)

// TestDescriptorsRunOut: more connections than the broker may have descriptors.
// It goes on serving those it has, says in its log what is wrong, and takes new
// ones when the attackers have gone.
func TestDescriptorsRunOut(t *testing.T) {
	attack(t, rules{growth: 32 * mib, filesMax: 100}, func(a *arena) {
		for range 300 {
			a.dial() // The kernel takes those that the broker cannot.
		}
		a.until("the broker to say so", func() bool { return a.broker.Logged("cannot accept connections") })
		<-a.ctx.Done()
		a.crashAll()
		began := time.Now()
		a.open(dialOptions{}, loginOptions{})
		t.Logf("a new client was let in %v after the attack", time.Since(began).Round(time.Millisecond))
	})
}

// TestDescriptorsRunOutAfterLogin: the same with clients that have logged in
// and stay.
func TestDescriptorsRunOutAfterLogin(t *testing.T) {
	attack(t, rules{growth: 32 * mib, filesMax: 100}, func(a *arena) {
		for i := 0; ; i++ {
			c, err := dial(a.addr, dialOptions{})
			if err != nil {
				t.Fatal(err)
			}
			a.keep(c)
			if i > 60 {
				break
			}
			a.must(c.login(loginOptions{}))
		}
		for range 100 {
			a.dial()
		}
		a.until("the broker to say so", func() bool { return a.broker.Logged("cannot accept connections") })
		<-a.ctx.Done()
	})
}
