package rehearsal

import (
	"fmt"
	"math/rand/v2"
	"path"
	"time"
)

// world is everything in the account. It is one JSON document on disk.
type world struct {
	Account  string `json:"account"`
	Region   string `json:"region"`
	Scenario string `json:"scenario"`
	Seed     int64  `json:"seed"`
	IDs      uint64 `json:"ids"` // handed out so far
	Suspect  string `json:"suspect"`
	Alert    Alert  `json:"alert"`

	Intruder  *intruder `json:"intruder,omitempty"`
	Traffic   []*flow   `json:"traffic,omitempty"`
	Thief     *keyThief `json:"thief,omitempty"`
	Behaviour Behaviour `json:"behaviour,omitzero"`

	Now         time.Time `json:"now"`              // of the last call
	Caller      string    `json:"caller"`           // ARN
	Credentials string    `json:"credentials"`      // ok, expired
	Denied      []string  `json:"denied,omitempty"` // IAM actions refused, with *
	Faults      []Fault   `json:"faults,omitempty"`
	Budgets     budgets   `json:"budgets"`
	Lived       time.Time `json:"lived,omitzero"` // when live was last asked

	EC2            ec2State            `json:"ec2"`
	EBS            ebsState            `json:"ebs"`
	AutoScaling    autoscalingState    `json:"autoscaling"`
	ELB            elbState            `json:"elb"`     // application load balancers' API
	Classic        classicState        `json:"classic"` // classic load balancers' API
	IAM            iamState            `json:"iam"`
	KMS            kmsState            `json:"kms"`
	S3             s3State             `json:"s3"`
	CloudFormation cloudformationState `json:"cloudformation"`
	SSM            ssmState            `json:"ssm"`
	Trail          trailState          `json:"trail"`
	Logs           logsState           `json:"logs"`  // CloudWatch Logs
	Flows          flowState           `json:"flows"` // what the flow logs recorded
	Resolver       resolverState       `json:"resolver"`
	Connections    connections         `json:"connections"`

	// Others are the worlds of the other accounts, by ID; in the first account's only.
	Others map[string]*world `json:"others,omitempty"`

	// Regions are the account's worlds in other Regions than its own; there are none in those.
	Regions map[string]*world `json:"regions,omitempty"`

	blobs  blobs
	holder *world // the first account's, in the others
	home   *world // the account's, in those of other Regions
}

// Fault makes calls go wrong.
type Fault struct {
	Operation string `json:"operation"` // ec2:CreateSnapshots; * matches
	// Kind: throttle: refused before; lost: done, but the answer is lost; error: refused with Code;
	// stuck, of ssm:SendCommand: accepted, and the agent never takes the command.
	Kind  string `json:"kind"`
	Code  string `json:"code,omitempty"`
	Skip  int    `json:"skip"`  // calls that go well first
	Count int    `json:"count"` // calls that go wrong then
}

func newWorld(start time.Time, seed int64) *world {
	w := &world{
		Account: "111122223333", Region: "eu-central-1", Seed: seed, Now: start, EC2: newEC2State(),
		Caller: "arn:aws:sts::111122223333:assumed-role/responder/rehearsal", Credentials: "ok",
	}
	w.EC2.stock(w)
	return w
}

// id makes a resource ID as AWS does: prefix and 17 hexadecimal digits. The
// same seed and the same calls in the same order give the same IDs.
func (w *world) id(prefix string) string {
	r := w.random()
	return fmt.Sprintf("%s-0%08x%08x", prefix, r.Uint32(), r.Uint32())
}

// random gives a generator of its own for the next ID: the world stays plain data.
func (w *world) random() *rand.Rand {
	w.IDs++
	return rand.New(rand.NewPCG(uint64(w.Seed), w.IDs))
}

// A long wait is lived through in pulses, so that what takes several steps (a
// health check fails, Auto Scaling terminates, a replacement boots) comes in its
// order and at its time, however seldom somebody looks. A very long one is lived
// through in fewer, longer pulses.
const (
	pulse     = 5 * time.Second
	maxPulses = 2000
)

// tick lets the account do what AWS does by itself until now. It reports
// whether anything changed. Calls side by side can come a little late: the time
// never goes back.
func (w *world) tick(now time.Time) (changed bool) {
	step := max(pulse, now.Sub(w.Now)/maxPulses)
	for next := w.Now.Truncate(step).Add(step); next.Before(now); next = next.Add(step) {
		w.Now = next
		changed = w.live() || changed
	}
	if now.After(w.Now) {
		w.Now = now
	}
	if len(w.EC2.Instances) > large && w.Now.Sub(w.Lived) < time.Second {
		return changed
	}
	return w.live() || changed
}

// large is how many instances an account has before what happens by itself is
// looked at once a second, not at every call: who works on a thousand instances makes
// tens of thousands of calls.
const large = 200

// live does what is due at w.Now.
func (w *world) live() bool {
	w.Lived = w.Now
	changed := w.EC2.tick(w)
	changed = w.CloudFormation.tick(w) || changed
	changed = w.ELB.tick(w) || changed
	changed = w.Classic.tick(w) || changed
	changed = w.AutoScaling.tick(w) || changed
	changed = w.SSM.tick(w) || changed
	changed = w.tickFlows() || changed
	changed = w.tickFlowFiles() || changed
	changed = w.Thief.tick(w) || changed
	return w.Intruder.tick(w) || changed
}

// denied reports whether the caller lacks the permission for an IAM action.
func (w *world) denied(action string) bool {
	for _, pattern := range w.Denied {
		if ok, _ := path.Match(pattern, action); ok {
			return true
		}
	}
	return false
}

// fault returns the fault that this call meets, if any, and counts it.
func (w *world) fault(action string) *Fault {
	for i := range w.Faults {
		f := &w.Faults[i]
		if ok, _ := path.Match(f.Operation, action); !ok {
			continue
		}
		if f.Skip > 0 {
			f.Skip--
			continue
		}
		if f.Count > 0 {
			f.Count--
			return f
		}
	}
	return nil
}
