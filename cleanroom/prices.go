package cleanroom

import (
	"fmt"
	"strings"
)

// Prices in US dollars, us-east-1, Linux on demand: https://aws.amazon.com/ec2/pricing/on-demand, https://aws.amazon.com/ebs/pricing
// (gp3: a GiB and month, with the performance that it includes), https://aws.amazon.com/privatelink/pricing (an interface endpoint in
// one zone, an hour; what passes through it is 0.01 a GiB more). Gateway endpoints cost nothing. They are unconfirmed: those pages fill their
// tables in by script, and no page of AWS's that was read has them as text. They differ by Region and change: what is made of them is an
// estimate, and the plan says so.
const (
	pricesAsOf    = "2025-11"
	priceEndpoint = 0.01
	priceGp3      = 0.08
	hoursAMonth   = 730
	rootGiB       = 50 // of an examination instance, as the template has it
)

// priceLarge is an hour of a family's large size; the other sizes are multiples of it.
var priceLarge = map[string]float64{
	"t3": 0.0832, "t3a": 0.0752, "t4g": 0.0672,
	"m5": 0.096, "m6i": 0.096, "m6a": 0.0864, "m6g": 0.077, "m7i": 0.1008, "m7g": 0.0816,
	"c5": 0.085, "c6i": 0.085, "c6a": 0.0765, "c6g": 0.068, "c7i": 0.08925, "c7g": 0.0725,
	"r5": 0.126, "r6i": 0.126, "r6a": 0.1134, "r6g": 0.1008, "r7i": 0.1323, "r7g": 0.1071,
}

var sizes = map[string]float64{"medium": 0.5, "large": 1, "xlarge": 2, "2xlarge": 4, "4xlarge": 8, "8xlarge": 16, "12xlarge": 24, "16xlarge": 32, "24xlarge": 48}

// bill is what a room is made of, as far as it is paid for by the hour.
type bill struct {
	instanceType string
	instances    int
	endpoints    int   // interface endpoints, each in one zone
	gib          int64 // of gp3 volumes
}

// String is for the responder who approves it.
func (b bill) String() string {
	endpoints := float64(b.endpoints) * priceEndpoint
	volumes := float64(b.gib) * priceGp3 / hoursAMonth
	parts := fmt.Sprintf("%d interface endpoint(s) $%.3f, %d GiB of gp3 $%.3f", b.endpoints, endpoints, b.gib, volumes)
	family, size, _ := strings.Cut(b.instanceType, ".")
	hour := priceLarge[family] * sizes[size] * float64(b.instances)
	if hour == 0 {
		return fmt.Sprintf("estimate (us-east-1 prices of %s): $%.2f an hour until the room is closed, and %d %s, whose price is not known here: %s",
			pricesAsOf, endpoints+volumes, b.instances, b.instanceType, parts)
	}
	return fmt.Sprintf("estimate (us-east-1 prices of %s): $%.2f an hour, $%.0f a month, until the room is closed: %d %s $%.3f, %s",
		pricesAsOf, hour+endpoints+volumes, (hour+endpoints+volumes)*hoursAMonth, b.instances, b.instanceType, hour, parts)
}
