package rehearsal

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// How long an instance takes between two states, and until its status checks
// have passed. AWS promises no times; these are what one sees.
const (
	bootTime      = 15 * time.Second
	stopTime      = 25 * time.Second
	shutdownTime  = 20 * time.Second
	checksTime    = 90 * time.Second
	terminatedFor = time.Hour // a terminated instance stays visible that long
)

// Why an instance is not running: API_StateReason. An instance with a volume whose
// key can't be used terminates right after it was launched.
const (
	reasonUser = "Client.UserInitiatedShutdown"
	reasonKey  = "Client.InvalidKMSKey.InvalidState"
)

var reasons = map[string]string{
	reasonUser: "User initiated shutdown",
	reasonKey:  "The KMS key provided is in an incorrect state",
}

// instance is a virtual machine. Its interfaces, volumes, profile and tags are
// kept elsewhere and refer to it.
type instance struct {
	ID          string                      `json:"id"`
	Reservation string                      `json:"reservation"`
	Index       int32                       `json:"index"` // in its reservation
	Image       string                      `json:"image"`
	Type        string                      `json:"type"`
	State       types.InstanceStateName     `json:"state"`
	Until       time.Time                   `json:"until,omitzero"` // when a passing state ends
	Reason      string                      `json:"reason,omitempty"`
	Launched    time.Time                   `json:"launched"` // the last start, as AWS has it
	VPC         string                      `json:"vpc"`
	Subnet      string                      `json:"subnet"`
	AZ          string                      `json:"az"`
	PrivateIP   string                      `json:"private_ip"`
	RootDevice  string                      `json:"root_device"`
	KeyName     string                      `json:"key_name,omitempty"`
	UserData    string                      `json:"user_data,omitempty"` // base64
	ClientToken string                      `json:"client_token,omitempty"`
	NoTerminate bool                        `json:"no_terminate,omitempty"` // DisableApiTermination
	NoStop      bool                        `json:"no_stop,omitempty"`      // DisableApiStop
	Shutdown    types.ShutdownBehavior      `json:"shutdown"`
	EBSOptimal  bool                        `json:"ebs_optimal,omitempty"`
	Hibernates  bool                        `json:"hibernates,omitempty"`
	Monitored   bool                        `json:"monitored,omitempty"`
	Lifecycle   types.InstanceLifecycleType `json:"lifecycle,omitempty"` // spot, or empty
	Tokens      types.HttpTokensState       `json:"tokens"`              // of the metadata service
	HopLimit    int32                       `json:"hop_limit"`
	Metadata    bool                        `json:"metadata"` // the metadata service answers
	// Reboots counts what nobody should notice during an investigation.
	Reboots int `json:"reboots,omitempty"`
	// MemoryImages are the paths of the images that an acquisition tool has written.
	MemoryImages []string `json:"memory_images,omitempty"`
	// Console is the serial console's output; empty: an ordinary boot.
	Console string `json:"console,omitempty"`
}

// instance is nil where there is none.
func (w *world) instance(id string) *instance { return w.EC2.Instances[id] }

// alive: it has its interfaces and volumes.
func (i *instance) alive() bool { return i.State != types.InstanceStateNameTerminated }

func (ops operations) ec2Instances() {
	ec2On(ops, ec2RunInstances)
	ec2On(ops, ec2DescribeInstances)
	ec2On(ops, ec2TerminateInstances)
	ec2On(ops, ec2StopInstances)
	ec2On(ops, ec2StartInstances)
	ec2On(ops, ec2RebootInstances)
	ec2On(ops, ec2DescribeInstanceStatus)
}

// interfacesOf are the instance's interfaces by device index.
func (s *ec2State) interfacesOf(id string) []*networkInterface {
	var list []*networkInterface
	for _, n := range s.Interfaces {
		if n.Attachment != nil && n.Attachment.Instance == id {
			list = append(list, n)
		}
	}
	slices.SortFunc(list, func(a, b *networkInterface) int { return cmp.Compare(a.Attachment.Index, b.Attachment.Index) })
	return list
}

// attached are the interfaces by the instance that they are attached to, for
// who looks at every instance.
func (s *ec2State) attached() map[string][]*networkInterface {
	by := make(map[string][]*networkInterface, len(s.Instances))
	for _, n := range s.Interfaces {
		if n.Attachment != nil {
			by[n.Attachment.Instance] = append(by[n.Attachment.Instance], n)
		}
	}
	return by
}

// volumesOf are the instance's volumes, the root first, then by device name.
func (s *ec2State) volumesOf(id string) []*volume {
	var list []*volume
	for _, v := range s.Volumes {
		if v.Attachment != nil && v.Attachment.Instance == id {
			list = append(list, v)
		}
	}
	slices.SortFunc(list, func(a, b *volume) int {
		if root := s.Instances[id].RootDevice; a.Attachment.Device == root {
			return -1
		} else if b.Attachment.Device == root {
			return 1
		}
		return cmp.Compare(a.Attachment.Device, b.Attachment.Device)
	})
	return list
}

// reachable reports whether anything may reach the instance: it runs, and some
// group of some interface lets something in. Health checks look at this.
func (w *world) reachable(id string) bool { return w.reachableBy(id, w.EC2.interfacesOf(id)) }

// reachableBy is reachable where the instance's interfaces are known.
func (w *world) reachableBy(id string, interfaces []*networkInterface) bool {
	i := w.instance(id)
	if i == nil || i.State != types.InstanceStateNameRunning {
		return false
	}
	for _, n := range interfaces {
		for _, g := range n.Groups {
			if slices.ContainsFunc(w.EC2.Groups[g].Rules, func(r groupRule) bool { return !r.Egress }) {
				return true
			}
		}
	}
	return false
}

// terminate shuts an instance down for good. Termination protection does not stop
// whoever calls this: it stops TerminateInstances only (aws-facts.md: Auto Scaling, Spot and the guest itself terminate all the same).
func (w *world) terminate(id string) {
	if i := w.instance(id); i != nil && i.alive() && i.State != types.InstanceStateNameShuttingDown {
		i.State, i.Until = types.InstanceStateNameShuttingDown, w.Now.Add(shutdownTime)
		i.Reason = reasonUser
	}
}

// tickInstances ends the passing states. Interfaces and volumes go where
// DeleteOnTermination says so, and are let go of where not.
func (s *ec2State) tickInstances(w *world) (changed bool) {
	for _, i := range inOrder(s.Instances) {
		if i.Until.IsZero() || w.Now.Before(i.Until) {
			continue
		}
		changed = true
		switch i.State {
		case types.InstanceStateNamePending:
			if slices.ContainsFunc(s.volumesOf(i.ID), func(v *volume) bool { return v.Broken }) {
				i.Reason = reasonKey
				s.bury(i)
				continue
			}
			i.State, i.Until = types.InstanceStateNameRunning, time.Time{}
		case types.InstanceStateNameStopping:
			i.State, i.Until = types.InstanceStateNameStopped, time.Time{}
		case types.InstanceStateNameShuttingDown:
			s.bury(i)
		case types.InstanceStateNameTerminated:
			delete(s.Instances, i.ID)
			delete(s.Tags, i.ID)
		}
	}
	return changed
}

func (s *ec2State) bury(i *instance) {
	for _, n := range s.interfacesOf(i.ID) {
		if n.Attachment.DeleteOnTermination {
			s.dropInterface(n)
		} else {
			n.Attachment, n.PublicIP = nil, ""
		}
	}
	for _, v := range s.volumesOf(i.ID) {
		if v.Attachment.DeleteOnTermination {
			delete(s.Volumes, v.ID)
			delete(s.Tags, v.ID)
		} else {
			v.Attachment, v.State = nil, types.VolumeStateAvailable
		}
	}
	for id, a := range s.Associations {
		if a.Instance == i.ID {
			delete(s.Associations, id)
		}
	}
	i.State, i.Until = types.InstanceStateNameTerminated, i.Until.Add(terminatedFor)
}

// ec2RunInstances: API_RunInstances. The client token is honoured: a second request
// shows the first one's instances.
func ec2RunInstances(c *call, in *ec2.RunInstancesInput) (*ec2.RunInstancesOutput, error) {
	s := c.ec2()
	reservation, err := s.once("RunInstances", in.ClientToken, in, func() (string, error) { return runNew(c, in) })
	if err != nil {
		return nil, err
	}
	out := &ec2.RunInstancesOutput{ReservationId: &reservation, OwnerId: &c.Account}
	for _, i := range inOrder(s.Instances) {
		if i.Reservation == reservation {
			out.Instances = append(out.Instances, c.showInstance(i))
		}
	}
	return out, nil
}

func runNew(c *call, in *ec2.RunInstancesInput) (reservation string, err error) {
	if err := checkSpecs(in.TagSpecifications, types.ResourceTypeInstance, types.ResourceTypeVolume, types.ResourceTypeNetworkInterface); err != nil {
		return "", err
	}
	spec, err := launchSpecOf(in)
	if err != nil {
		return "", err
	}
	plan, err := c.planLaunch(spec)
	if err != nil {
		return "", err
	}
	count := aws.ToInt32(in.MaxCount)
	if count < 1 || aws.ToInt32(in.MinCount) > count {
		return "", apiError("InvalidParameterValue", "MinCount must not be greater than MaxCount, and both must be at least 1.")
	}
	reservation = c.id("r")
	for index := range count {
		i := c.launchPlanned(plan)
		i.Reservation, i.Index = reservation, index
	}
	return reservation, nil
}

// ec2DescribeInstances: API_DescribeInstances. Terminated instances show for an
// hour; each reservation is listed with those of its instances that match.
func ec2DescribeInstances(c *call, in *ec2.DescribeInstancesInput) (*ec2.DescribeInstancesOutput, error) {
	q := listing{query{in.InstanceIds, in.Filters}, in.MaxResults, in.NextToken}
	found, next, err := describe(c, kindInstance, c.ec2().Instances, q, c.instanceField)
	if err != nil {
		return nil, err
	}
	out := &ec2.DescribeInstancesOutput{NextToken: next}
	at := make(map[string]int)
	for _, i := range found {
		n, ok := at[i.Reservation]
		if !ok {
			n = len(out.Reservations)
			at[i.Reservation] = n
			out.Reservations = append(out.Reservations, types.Reservation{ReservationId: &i.Reservation, OwnerId: &c.Account})
		}
		out.Reservations[n].Instances = append(out.Reservations[n].Instances, c.showInstance(i))
	}
	return out, nil
}

// stateCodes: API_InstanceState.
var stateCodes = map[types.InstanceStateName]int32{
	types.InstanceStateNamePending: 0, types.InstanceStateNameRunning: 16, types.InstanceStateNameShuttingDown: 32,
	types.InstanceStateNameTerminated: 48, types.InstanceStateNameStopping: 64, types.InstanceStateNameStopped: 80,
}

func showState(name types.InstanceStateName) *types.InstanceState {
	return &types.InstanceState{Name: name, Code: aws.Int32(stateCodes[name])}
}

// change does the same to several instances after checking all of them.
func (c *call) change(ids []string, check func(*instance) error, act func(*instance)) ([]types.InstanceStateChange, error) {
	var list []*instance
	for _, id := range ids {
		i, err := get(kindInstance, c.ec2().Instances, &id)
		if err != nil {
			return nil, err
		}
		if err := check(i); err != nil {
			return nil, err
		}
		list = append(list, i)
	}
	var changes []types.InstanceStateChange
	for _, i := range list {
		before := showState(i.State)
		act(i)
		changes = append(changes, types.InstanceStateChange{InstanceId: &i.ID, PreviousState: before, CurrentState: showState(i.State)})
	}
	return changes, nil
}

// ec2TerminateInstances: API_TerminateInstances. Refused for all where one is
// protected; terminating what is terminated succeeds.
func ec2TerminateInstances(c *call, in *ec2.TerminateInstancesInput) (*ec2.TerminateInstancesOutput, error) {
	changes, err := c.change(in.InstanceIds, func(i *instance) error {
		if i.NoTerminate {
			return apiError("OperationNotPermitted", fmt.Sprintf("The instance '%s' may not be terminated. Modify its 'disableApiTermination' instance attribute and try again.", i.ID))
		}
		return nil
	}, func(i *instance) { c.terminate(i.ID) })
	if err != nil {
		return nil, err
	}
	return &ec2.TerminateInstancesOutput{TerminatingInstances: changes}, nil
}

// ec2StopInstances: API_StopInstances. An automatic public address is gone for good;
// instance store volumes lose everything.
func ec2StopInstances(c *call, in *ec2.StopInstancesInput) (*ec2.StopInstancesOutput, error) {
	changes, err := c.change(in.InstanceIds, func(i *instance) error {
		switch {
		case i.NoStop:
			return apiError("OperationNotPermitted", fmt.Sprintf("The instance '%s' may not be stopped. Modify its 'disableApiStop' instance attribute and try again.", i.ID))
		case i.State == types.InstanceStateNameRunning, i.State == types.InstanceStateNameStopping, i.State == types.InstanceStateNameStopped:
			return nil
		}
		return apiError("IncorrectInstanceState", fmt.Sprintf("This instance '%s' is not in a state from which it can be stopped.", i.ID))
	}, func(i *instance) {
		if i.State != types.InstanceStateNameRunning {
			return
		}
		i.State, i.Until, i.Reason = types.InstanceStateNameStopping, c.Now.Add(stopTime), reasonUser
		for _, n := range c.EC2.interfacesOf(i.ID) {
			n.PublicIP = ""
		}
	})
	if err != nil {
		return nil, err
	}
	return &ec2.StopInstancesOutput{StoppingInstances: changes}, nil
}

// ec2StartInstances: API_StartInstances.
func ec2StartInstances(c *call, in *ec2.StartInstancesInput) (*ec2.StartInstancesOutput, error) {
	changes, err := c.change(in.InstanceIds, func(i *instance) error {
		switch i.State {
		case types.InstanceStateNameStopped, types.InstanceStateNamePending, types.InstanceStateNameRunning:
			return nil
		}
		return apiError("IncorrectInstanceState", fmt.Sprintf("This instance '%s' is not in a state from which it can be started.", i.ID))
	}, func(i *instance) {
		if i.State != types.InstanceStateNameStopped {
			return
		}
		i.State, i.Until, i.Reason, i.Launched = types.InstanceStateNamePending, c.Now.Add(bootTime), "", c.Now
		for _, n := range c.EC2.interfacesOf(i.ID) {
			c.givePublicIP(n)
		}
	})
	if err != nil {
		return nil, err
	}
	return &ec2.StartInstancesOutput{StartingInstances: changes}, nil
}

// ec2RebootInstances: API_RebootInstances. The state stays running.
func ec2RebootInstances(c *call, in *ec2.RebootInstancesInput) (*ec2.RebootInstancesOutput, error) {
	_, err := c.change(in.InstanceIds, func(i *instance) error {
		if i.State != types.InstanceStateNameRunning {
			return apiError("IncorrectState", fmt.Sprintf("Instance '%s' is not in a state from which it can be rebooted.", i.ID))
		}
		return nil
	}, func(i *instance) { i.Reboots++ })
	if err != nil {
		return nil, err
	}
	return &ec2.RebootInstancesOutput{}, nil
}

// ec2DescribeInstanceStatus: API_DescribeInstanceStatus. Only running instances,
// unless all are asked for.
func ec2DescribeInstanceStatus(c *call, in *ec2.DescribeInstanceStatusInput) (*ec2.DescribeInstanceStatusOutput, error) {
	s, q := c.ec2(), query{in.InstanceIds, in.Filters}
	ids, err := find(c, kindInstance, s.Instances, q, c.statusField)
	if err != nil {
		return nil, err
	}
	if !aws.ToBool(in.IncludeAllInstances) {
		ids = slices.DeleteFunc(ids, func(id string) bool { return s.Instances[id].State != types.InstanceStateNameRunning })
	}
	ids, next, err := page(ids, q, in.MaxResults, in.NextToken)
	if err != nil {
		return nil, err
	}
	out := &ec2.DescribeInstanceStatusOutput{NextToken: next}
	for _, id := range ids {
		i := s.Instances[id]
		checks := i.checks(c.Now)
		out.InstanceStatuses = append(out.InstanceStatuses, types.InstanceStatus{
			InstanceId: &i.ID, AvailabilityZone: &i.AZ, InstanceState: showState(i.State),
			InstanceStatus: summaryOf(checks), SystemStatus: summaryOf(checks),
			AttachedEbsStatus: &types.EbsStatusSummary{Status: checks},
		})
	}
	return out, nil
}

// summaryOf: API_InstanceStatusSummary. There is one check, whether it can be reached, while it runs.
func summaryOf(checks types.SummaryStatus) *types.InstanceStatusSummary {
	out := &types.InstanceStatusSummary{Status: checks}
	detail := types.InstanceStatusDetails{Name: types.StatusNameReachability}
	switch checks {
	case types.SummaryStatusOk:
		detail.Status = types.StatusTypePassed
	case types.SummaryStatusInitializing:
		detail.Status = types.StatusTypeInitializing
	default:
		return out
	}
	out.Details = []types.InstanceStatusDetails{detail}
	return out
}

// checks are the instance's status checks. A network cut by groups does not
// fail them: they look at the interface from below.
func (i *instance) checks(now time.Time) types.SummaryStatus {
	switch {
	case i.State != types.InstanceStateNameRunning:
		return types.SummaryStatusNotApplicable
	case now.Before(i.Launched.Add(checksTime)):
		return types.SummaryStatusInitializing
	}
	return types.SummaryStatusOk
}

func (c *call) statusField(i *instance, name string) ([]string, bool) {
	switch name {
	case "instance-state-name":
		return one(string(i.State)), true
	case "instance-state-code":
		return []string{fmt.Sprint(stateCodes[i.State])}, true
	case "availability-zone":
		return one(i.AZ), true
	case "instance-status.status", "system-status.status":
		return one(string(i.checks(c.Now))), true
	}
	return nil, false
}
