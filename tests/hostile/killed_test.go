package hostile

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"leveret/adapters/amqp/wire"
)

// asAttacker in the environment makes this test binary an attacker. It holds
// an address and, behind a space, what the attacker puts in front of routing
// keys: what it publishes goes to its own queues, or nowhere.
const asAttacker = "LEVERET_TEST_BE_ATTACKER"

// beAttacker publishes, consumes, declares and stalls on several connections
// until it is killed. It prints a line when it has begun.
func beAttacker() {
	addr, key, _ := strings.Cut(os.Getenv(asAttacker), " ")
	die := func(err error) {
		fmt.Fprintln(os.Stderr, "attacker:", err)
		os.Exit(1)
	}
	for i := range 10 {
		c, err := open(addr, dialOptions{}, loginOptions{heartbeat: 2}) // So that the broker writes now and then.
		if err != nil {
			die(err)
		}
		q := fmt.Sprint("killed", i)
		err = c.methods(1, &wire.QueueDeclare{Queue: q, Exclusive: true}, &wire.ConfirmSelect{}, &wire.BasicQos{PrefetchCount: 10}, &wire.BasicConsume{Queue: q})
		if err != nil {
			die(err)
		}
		var b []byte
		switch i % 3 {
		case 0: // Most of its time in the midst of a large body.
			b = message(1, "", key+q, true, make([]byte, 1_000_000))
		case 1:
			b = repeat(message(1, "", key+q, true, make([]byte, 1000)), 1<<20)
		case 2:
			b = repeat(appendMethods(nil, 1, &wire.QueueDeclare{Queue: q + "b", Exclusive: true}, &wire.QueueBind{Queue: q + "b", Exchange: "amq.topic", RoutingKey: "#"}), 1<<20)
		}
		go c.flood(context.Background(), b) // Ends with the process.
		if i%2 == 0 {
			go c.discard(context.Background()) // The same.
		}
	}
	fmt.Println("attacking")
	select {}
}

// TestKilledAttackers kills processes with kill -9 in the middle of whatever
// they are doing. Nothing of them stays.
func TestKilledAttackers(t *testing.T) {
	attack(t, rules{growth: 64 * mib}, func(a *arena) {
		random := rand.New(rand.NewPCG(5, 0))
		for kills := 0; kills < 3 || a.ctx.Err() == nil; kills++ {
			a.killOne("no ", time.Duration(20+random.IntN(100))*time.Millisecond)
		}
	})
}

// TestKilledWhileHeld kills publishers that the broker holds because memory is
// short. Their exclusive queues are what fills it, so it must notice.
func TestKilledWhileHeld(t *testing.T) {
	attack(t, rules{growth: 160 * mib, flags: []string{"--memory-limit", "32MiB"}, alone: true}, func(a *arena) {
		a.killOne("", lasts)
	})
}

// killOne starts an attacker and kills it after a while.
func (a *arena) killOne(prefix string, after time.Duration) {
	a.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), asAttacker+"="+a.addr+" "+prefix)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	a.must(err)
	a.must(cmd.Start())
	_, err = bufio.NewReader(out).ReadString('\n')
	if err == nil {
		<-time.After(after)
	}
	cmd.Process.Kill()
	cmd.Wait()
	a.must(err)
}
