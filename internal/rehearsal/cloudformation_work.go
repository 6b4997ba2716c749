package rehearsal

import (
	"errors"
	"fmt"
	"strings"

	"github.com/aws/smithy-go"
)

// cfnWork is CloudFormation working on one resource of a stack.
type cfnWork struct {
	cfnScope
	resource *stackResource
}

// cfnType is how CloudFormation deals with one type of resource. What it makes is
// made by the services' own handlers and is as real in the account as any other.
type cfnType struct {
	create func(*cfnWork) error
	remove func(*cfnWork) error
	ready  func(*cfnWork) (bool, error) // nil: at once
	gone   func(*cfnWork) bool          // nil: at once
	// attributes are those that Fn::GetAtt gives once the resource is complete.
	attributes func(*cfnWork) map[string]any
}

// cfnTypeOf finds a type; ok is false for one that the account can't make.
func cfnTypeOf(name string) (t cfnType, ok bool) {
	if t, ok = cfnNetworkType(name); ok {
		return t, ok
	}
	if t, ok = cfnComputeType(name); ok {
		return t, ok
	}
	if t, ok = cfnResolverType(name); ok {
		return t, ok
	}
	return cfnIdentityType(name)
}

func (x *cfnWork) create() error {
	t, ok := cfnTypeOf(x.resource.Type)
	if !ok {
		return fmt.Errorf("the simulated account has no resource type %s", x.resource.Type)
	}
	return t.create(x)
}

// ready fails where the resource can never become what it should.
func (x *cfnWork) ready() (bool, error) {
	t, _ := cfnTypeOf(x.resource.Type)
	if t.ready == nil {
		return true, nil
	}
	return t.ready(x)
}

func (x *cfnWork) attributes() {
	t, _ := cfnTypeOf(x.resource.Type)
	if t.attributes != nil {
		x.resource.Attributes = t.attributes(x)
	}
}

// remove counts what is not there any more as removed.
func (x *cfnWork) remove() error {
	t, ok := cfnTypeOf(x.resource.Type)
	if !ok || x.resource.Physical == "" {
		return nil
	}
	err := t.remove(x)
	if api := smithy.APIError(nil); errors.As(err, &api) && (strings.Contains(api.ErrorCode(), "NotFound") || api.ErrorCode() == "NoSuchEntity") {
		return nil
	}
	return err
}

func (x *cfnWork) gone() bool {
	t, _ := cfnTypeOf(x.resource.Type)
	return t.gone == nil || x.resource.Physical == "" || t.gone(x)
}

// creating reads the resource's properties into P. A create function sets the physical
// ID as soon as there is something to remove again.
func creating[P any](create func(*cfnWork, *P) error) func(*cfnWork) error {
	return func(x *cfnWork) error {
		evaluated, err := x.eval(x.template.Resources[x.resource.Logical].Properties)
		if err != nil {
			return err
		}
		values, ok := evaluated.(map[string]any)
		if !ok {
			return propertyErrors{fmt.Sprintf("#: expected type: JSONObject, found: %T", evaluated)}
		}
		properties := new(P)
		if err := fillProperties(values, properties); err != nil {
			return err
		}
		return create(x, properties)
	}
}

// callAs makes a call for the stack, with its caller's permissions; CloudTrail sees it. That the
// caller's credentials expire meanwhile is no obstacle: CloudFormation works with a session of its own.
func callAs[I, O any](x *cfnWork, action string, handle func(*call, *I) (*O, error), in *I) (*O, error) {
	service, name, _ := strings.Cut(action, ":")
	c := *x.call
	c.service = service
	var out *O
	err := c.permit(action)
	if err == nil {
		out, err = handle(&c, in)
	}
	c.Trail.record(&c, name, in, err)
	return out, err
}

// permit refuses an action that the stack's caller may not do.
func (c *call) permit(action string) error {
	if !c.denied(action) {
		return nil
	}
	return apiError(codesOf(c.service).denied, fmt.Sprintf("User: %s is not authorized to perform: %s", c.Caller, action))
}

// physicalName is the name that CloudFormation gives where the template has none.
func (x *cfnWork) physicalName() string {
	return fmt.Sprintf("%s-%s-%s", x.stack.Name, x.resource.Logical, strings.ToUpper(fmt.Sprintf("%012x", x.random().Uint64()>>16)))
}

// cfnTag is a tag in a template.
type cfnTag struct{ Key, Value string }

// labels are the resource's tags: its own, the stack's, and those that CloudFormation adds
// (https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/aws-properties-resource-tags.html).
func (x *cfnWork) labels(own []cfnTag) map[string]string {
	all := x.ownLabels(own)
	all["aws:cloudformation:stack-name"] = x.stack.Name
	all["aws:cloudformation:stack-id"] = x.stack.ID
	all["aws:cloudformation:logical-id"] = x.resource.Logical
	return all
}

func (x *cfnWork) ownLabels(own []cfnTag) map[string]string {
	all := make(map[string]string)
	for k, v := range x.stack.Tags {
		all[k] = v
	}
	for _, t := range own {
		all[t.Key] = t.Value
	}
	return all
}

// label tags an EC2 resource that the stack has just made.
func (x *cfnWork) label(own []cfnTag) { x.tag(x.resource.Physical, x.labels(own)) }
