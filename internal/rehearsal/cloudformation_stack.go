package rehearsal

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/cloudformation/types"
	"github.com/aws/smithy-go"
)

// stackStep is how long the account takes over one resource, unless the resource
// itself takes longer (an instance boots).
const stackStep = 5 * time.Second

type stack struct {
	ID           string             `json:"id"` // ARN
	Name         string             `json:"name"`
	Region       string             `json:"region"`
	Token        string             `json:"token,omitempty"`
	Template     string             `json:"template"`
	Description  string             `json:"description,omitempty"` // the template's
	Parameters   []stackParameter   `json:"parameters,omitempty"`
	Capabilities []types.Capability `json:"capabilities,omitempty"`
	Tags         map[string]string  `json:"tags,omitempty"`
	Protected    bool               `json:"protected,omitempty"`
	OnFailure    types.OnFailure    `json:"on_failure"`
	Status       types.StackStatus  `json:"status"`
	Reason       string             `json:"reason,omitempty"`
	Created      time.Time          `json:"created"`
	Updated      *time.Time         `json:"updated,omitempty"`
	Deleted      *time.Time         `json:"deleted,omitempty"`
	Outputs      []stackOutput      `json:"outputs,omitempty"`
	Resources    []*stackResource   `json:"resources"` // each after what it needs
	Events       []stackEvent       `json:"events"`    // oldest first
}

type stackParameter struct {
	Key      string `json:"key"`
	Value    string `json:"value"`
	Resolved string `json:"resolved,omitempty"` // of a Systems Manager parameter
	Hidden   bool   `json:"hidden,omitempty"`   // NoEcho
}

type stackOutput struct {
	Key         string `json:"key"`
	Value       string `json:"value"`
	Description string `json:"description,omitempty"`
}

type stackResource struct {
	Logical    string               `json:"logical"`
	Type       string               `json:"type"`
	Physical   string               `json:"physical,omitempty"`
	Status     types.ResourceStatus `json:"status,omitempty"`
	Reason     string               `json:"reason,omitempty"`
	Changed    time.Time            `json:"changed"`
	Attributes map[string]any       `json:"attributes,omitempty"` // what Fn::GetAtt gives
	Kept       bool                 `json:"kept,omitempty"`       // DeletionPolicy: Retain, RetainExceptOnCreate
	// KeptOnRollback too: RetainExceptOnCreate is not ("DeletionPolicy attribute").
	KeptOnRollback bool `json:"kept_on_rollback,omitempty"`
}

type stackEvent struct {
	ID       string    `json:"id"`
	Time     time.Time `json:"time"`
	Logical  string    `json:"logical"`
	Physical string    `json:"physical,omitempty"`
	Type     string    `json:"type"`
	Status   string    `json:"status"`
	Reason   string    `json:"reason,omitempty"`
}

func (s *stack) resource(logical string) *stackResource {
	i := slices.IndexFunc(s.Resources, func(r *stackResource) bool { return r.Logical == logical })
	if i < 0 {
		return nil
	}
	return s.Resources[i]
}

func (s *stack) parameter(key string) string {
	for _, p := range s.Parameters {
		if p.Key == key && p.Resolved != "" {
			return p.Resolved
		}
		if p.Key == key {
			return p.Value
		}
	}
	return ""
}

// enter puts the stack into a state and writes the event.
func (s *stack) enter(w *world, status types.StackStatus, reason string) {
	s.Status, s.Reason = status, reason
	s.Events = append(s.Events, stackEvent{
		ID: s.eventID(w), Time: w.Now, Logical: s.Name, Physical: s.ID, Type: "AWS::CloudFormation::Stack", Status: string(status), Reason: reason,
	})
}

func (s *stack) enterResource(w *world, r *stackResource, status types.ResourceStatus, reason string) {
	r.Status, r.Reason, r.Changed = status, reason, w.Now
	s.Events = append(s.Events, stackEvent{
		ID: s.eventID(w), Time: w.Now, Logical: r.Logical, Physical: r.Physical, Type: r.Type, Status: string(status), Reason: reason,
	})
}

func (s *stack) eventID(w *world) string {
	return fmt.Sprintf("%016x-%s", w.random().Uint64(), s.Name)
}

// tick takes the stacks that are being made or removed further. One resource
// is worked on at a time, so a step takes as long as everything before it.
func (s *cloudformationState) tick(w *world) (changed bool) {
	for _, st := range s.Stacks {
		switch st.Status {
		case types.StackStatusCreateInProgress:
			changed = st.build(w) || changed
		case types.StackStatusRollbackInProgress, types.StackStatusDeleteInProgress:
			changed = st.remove(w) || changed
		}
	}
	return changed
}

// build starts the next resource once the one before is complete.
func (s *stack) build(w *world) (changed bool) {
	x, err := s.work(w)
	if err != nil {
		s.fail(w, nil, err)
		return true
	}
	for _, r := range s.Resources {
		x.resource = r
		switch r.Status {
		case types.ResourceStatusCreateComplete:
			continue
		case "":
			s.enterResource(w, r, types.ResourceStatusCreateInProgress, "")
			if err := x.create(); err != nil {
				s.fail(w, r, err)
				return true
			}
			s.enterResource(w, r, types.ResourceStatusCreateInProgress, "Resource creation Initiated")
			return true
		}
		if w.Now.Before(r.Changed.Add(stackStep)) {
			return changed
		}
		ready, err := x.ready()
		if err != nil {
			s.fail(w, r, err)
			return true
		}
		if !ready {
			return changed
		}
		x.attributes()
		s.enterResource(w, r, types.ResourceStatusCreateComplete, "")
		changed = true
	}
	if err := s.finish(x); err != nil {
		s.fail(w, nil, err)
		return true
	}
	s.enter(w, types.StackStatusCreateComplete, "")
	return true
}

// work is what CloudFormation makes its calls with: the caller's permissions.
func (s *stack) work(w *world) (*cfnWork, error) {
	t, err := parseTemplate(s.Template)
	if err != nil {
		return nil, err
	}
	c := w.call("cloudformation")
	c.region = s.Region
	return &cfnWork{cfnScope: cfnScope{call: c, template: t, stack: s}}, nil
}

// finish works out the outputs.
func (s *stack) finish(x *cfnWork) error {
	for _, key := range sortedKeys(x.template.Outputs) {
		o := x.template.Outputs[key]
		if o.Condition != "" {
			if holds, err := x.condition(o.Condition); err != nil {
				return err
			} else if !holds {
				continue
			}
		}
		value, err := x.eval(o.Value)
		if err != nil {
			return err
		}
		s.Outputs = append(s.Outputs, stackOutput{Key: key, Value: fmt.Sprint(value), Description: o.Description})
	}
	return nil
}

// fail ends the creation as the caller has chosen; by default what was made is removed again.
func (s *stack) fail(w *world, r *stackResource, err error) {
	reason := reasonOf(err)
	whole := reason + " "
	if r != nil {
		s.enterResource(w, r, types.ResourceStatusCreateFailed, reason)
		whole = fmt.Sprintf("The following resource(s) failed to create: [%s]. ", r.Logical)
	}
	switch s.OnFailure {
	case types.OnFailureDoNothing:
		s.enter(w, types.StackStatusCreateFailed, whole)
	case types.OnFailureDelete:
		s.enter(w, types.StackStatusDeleteInProgress, whole+"Delete requested by user.")
	default:
		s.enter(w, types.StackStatusRollbackInProgress, whole+"Rollback requested by user.")
	}
}

// remove takes the resources away in reverse order. What can't be removed is left, and
// named, and the rest goes on.
func (s *stack) remove(w *world) (changed bool) {
	x, err := s.work(w)
	if err != nil {
		panic("rehearsal: a template that was accepted: " + err.Error())
	}
	var failed []string
	for _, r := range slices.Backward(s.Resources) {
		x.resource = r
		switch r.Status {
		case "", types.ResourceStatusDeleteComplete, types.ResourceStatusDeleteSkipped:
			continue
		case types.ResourceStatusDeleteFailed:
			failed = append(failed, r.Logical)
			continue
		case types.ResourceStatusDeleteInProgress:
			if w.Now.Before(r.Changed.Add(stackStep)) || !x.gone() {
				return changed
			}
			s.enterResource(w, r, types.ResourceStatusDeleteComplete, "")
			changed = true
			continue
		}
		changed = true
		if r.KeptOnRollback || r.Kept && s.Status == types.StackStatusDeleteInProgress {
			s.enterResource(w, r, types.ResourceStatusDeleteSkipped, "")
			continue
		}
		s.enterResource(w, r, types.ResourceStatusDeleteInProgress, "")
		if err := x.remove(); err != nil {
			s.enterResource(w, r, types.ResourceStatusDeleteFailed, reasonOf(err))
			failed = append(failed, r.Logical)
			continue
		}
		return true
	}
	s.removed(w, failed)
	return true
}

func (s *stack) removed(w *world, failed []string) {
	rollback := s.Status == types.StackStatusRollbackInProgress
	whole := fmt.Sprintf("The following resource(s) failed to delete: [%s]. ", strings.Join(failed, ", "))
	switch {
	case rollback && len(failed) > 0:
		s.enter(w, types.StackStatusRollbackFailed, whole)
	case rollback:
		s.enter(w, types.StackStatusRollbackComplete, "")
	case len(failed) > 0:
		s.enter(w, types.StackStatusDeleteFailed, whole)
	default:
		now := w.Now
		s.Deleted = &now
		s.enter(w, types.StackStatusDeleteComplete, "")
	}
}

// reasonOf is how a stack event quotes a service's error.
func reasonOf(err error) string {
	api := smithy.APIError(nil)
	if !errors.As(err, &api) {
		return err.Error()
	}
	return fmt.Sprintf("Resource handler returned message: %q (HandlerErrorCode: %s)", api.ErrorMessage(), api.ErrorCode())
}
