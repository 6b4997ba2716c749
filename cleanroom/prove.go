package cleanroom

import (
	"fmt"
	"maps"
	"strings"

	"github.com/cordon-ir/cordon/cleanroom/proof"
	"github.com/cordon-ir/cordon/internal/incident"
)

// judge proves a template before it is launched. What it leads to that is not declared is a refusal: nothing is made.
func judge(template string, l proof.Launch) (*proof.Model, proof.Verdict, error) {
	model, err := proof.ReadTemplate(template, l)
	if err != nil {
		return nil, proof.Verdict{}, err
	}
	verdict := proof.Judge(model, declared(l))
	if open := verdict.Undeclared(); len(open) > 0 {
		var all []string
		for _, w := range open {
			all = append(all, w.Resource+": "+w.Reason)
		}
		return nil, verdict, &incident.RefusedError{Reason: fmt.Sprintf("the clean room would not be closed, %d undeclared way(s) lead out of it: %s", len(open), strings.Join(all, "; "))}
	}
	return model, verdict, nil
}

// proven is the check right before the launch, of the very text that is sent.
func (o *opening) proven(template string, params map[string]string) error {
	l := proof.Launch{
		Account: o.req.Target.Account, Region: o.req.Target.Region, Partition: partition(o.req.Target.Region), Stack: stackName(o.req), Parameters: params,
		PrefixLists: map[string]string{params["S3PrefixList"]: s3ListName(o.req.Target.Region)},
	}
	_, _, err := judge(template, l)
	return err
}

// prove checks what is planned. It says what the room costs, and what leads out of it by intent.
func (p *planner) prove(params map[string]string, disks []disk) (running string, declared []incident.Exposure, err error) {
	text, err := Template(p.in.Instances)
	if err != nil {
		return "", nil, err
	}
	region := p.req.Target.Region
	const list = "pl-00000000" // the Region's own is asked for right before the launch
	l := proof.Launch{
		Account: p.req.Target.Account, Region: region, Partition: partition(region), Stack: stackName(p.req), Parameters: maps.Clone(params),
		PrefixLists: map[string]string{list: s3ListName(region)},
	}
	l.Parameters["S3PrefixList"] = list
	if l.Parameters["Zone"] == "" {
		l.Parameters["Zone"] = region + "a" // which could not be read yet; no rule of the proof looks at it
	}
	model, verdict, err := judge(text, l)
	if err != nil {
		return "", nil, err
	}
	for _, w := range verdict.Ways {
		declared = append(declared, incident.Exposure{Path: "the clean room: " + w.Reason, Reason: w.Declared})
	}
	b := bill{instanceType: p.in.InstanceType, instances: p.in.Instances, gib: int64(p.in.Instances) * rootGiB}
	for _, e := range model.Endpoints {
		if e.Type == "Interface" {
			b.endpoints++
		}
	}
	for _, d := range disks {
		b.gib += int64(d.GiB) * int64(p.in.Instances)
	}
	return b.String(), declared, nil
}

// s3ListName is what AWS calls the prefix list of S3.
func s3ListName(region string) string { return serviceName(region, "s3") }

// serviceName is what the template's endpoints call a service.
func serviceName(region, service string) string { return "com.amazonaws." + region + "." + service }
