package hostile

import (
	"fmt"
	"testing"

	"leveret/adapters/amqp/wire"
)

// TestHugeArguments: what queues, bindings and consumers keep of their
// arguments is in proportion to what was sent, and stays below the memory limit.
func TestHugeArguments(t *testing.T) {
	const tables = 150 // 15 MB on the wire.
	declare := func(arguments wire.Table) func(int) []byte {
		return func(i int) []byte {
			return appendMethods(nil, 1, &wire.QueueDeclare{Queue: fmt.Sprint("q", i), Exclusive: true, Arguments: arguments})
		}
	}
	array, many := longArray(), manyFields()
	for _, test := range []struct {
		name  string
		sends func(i int) []byte
	}{
		{"queue with a long array", declare(array)},
		{"queue with many arguments", declare(many)},
		{"binding", func(i int) []byte {
			return appendMethods(nil, 1, &wire.QueueDeclare{Queue: "q", Exclusive: true},
				&wire.QueueBind{Queue: "q", Exchange: "amq.headers", RoutingKey: fmt.Sprint(i), Arguments: many})
		}},
		{"consumer", func(i int) []byte {
			return appendMethods(nil, 1, &wire.QueueDeclare{Queue: "q", Exclusive: true},
				&wire.BasicConsume{Queue: "q", ConsumerTag: fmt.Sprint(i), Arguments: many})
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			attack(t, rules{growth: 96 * mib, flags: []string{"--memory-limit", "32MiB"}}, func(a *arena) {
				c := a.open(dialOptions{}, loginOptions{})
				for i := range tables {
					if c.write(test.sends(i)) != nil {
						return // It was refused, which is fine.
					}
					if i%10 == 9 { // So that a slow broker does not have a long list to work off.
						if c.methods(1, &wire.BasicQos{}) != nil {
							return
						}
						if _, err := await[*wire.BasicQosOk](c, 1); err != nil {
							return
						}
					}
				}
			})
		})
	}
}
