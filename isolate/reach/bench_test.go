package reach

import (
	"fmt"
	"testing"
)

// One VPC is read once for many instances: what is left for each must not
// depend on how many neighbours it has more than once.
func BenchmarkDecideAmongThousandNeighbours(b *testing.B) {
	l := newLab(b)
	for i := range 9 {
		l.subnet(fmt.Sprintf("subnet-%d", i), fmt.Sprintf("10.0.%d.0/24", i+1), fmt.Sprintf("acl-%d", i%3))
	}
	for i := range 1000 {
		l.other(fmt.Sprintf("eni-n%d", i), fmt.Sprintf("subnet-%d", i%9), fmt.Sprintf("10.0.%d.%d", 1+i%9, 10+i/9), "interface", "sg-web")
	}
	l.nat("nat-1", "subnet-0")
	l.routes("subnet-own", "0.0.0.0/0 nat-1", "10.0.0.0/8 pcx-1")
	for b.Loop() {
		n := l.network()
		if _, err := n.Decide(Wish{}); err != nil {
			b.Fatal(err)
		}
	}
}
