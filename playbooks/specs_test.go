package playbooks

import "github.com/cordon-ir/cordon/internal/incident"

// testSpecs have the names, inputs and outputs of the actions that the shipped
// playbooks use.
var testSpecs = []incident.Spec{
	{Name: "isolate.protect", Impact: incident.Disruptive},
	{Name: "isolate.autoscaling", Impact: incident.Disruptive, Provides: []incident.Capability{incident.LeftGroup}, Inputs: []incident.Field{
		{Name: "strategy", Type: incident.String, Enum: []string{"replace", "shrink", "standby"}, Default: "replace"},
	}},
	{Name: "isolate.loadbalancers", Impact: incident.Disruptive, Inputs: []incident.Field{
		{Name: "wait", Type: incident.Boolean, Default: true},
	}},
	{Name: "isolate.credentials", Impact: incident.Disruptive, Inputs: []incident.Field{
		{Name: "scope", Type: incident.String, Enum: []string{"instance", "role"}, Default: "instance"},
		{Name: "quarantine_profile", Type: incident.String, Default: ""},
	}},
	{
		Name: "isolate.network", Impact: incident.Irreversible,
		Inputs: []incident.Field{
			{Name: "strategy", Type: incident.Strings, Enum: []string{"auto", "groups", "timeouts", "addresses", "edge-acl", "remote-acl", "subnet-acl"}, Default: []string{"auto"}},
			{Name: "attackers", Type: incident.Strings, Default: []string{}},
			{Name: "allow", Type: incident.Strings, Default: []string{}},
			{Name: "allow_ssm", Type: incident.Boolean, Default: false},
		},
		Provides: []incident.Capability{incident.NetworkCut}, MayRequire: []incident.Capability{incident.LeftGroup},
		Outputs: []incident.Field{
			{Name: "cut_at", Type: incident.String}, {Name: "paths_cut", Type: incident.Strings}, {Name: "paths_open", Type: incident.Strings},
		},
	},
	{Name: "isolate.observe", Impact: incident.Additive, Inputs: []incident.Field{
		{Name: "since", Type: incident.String, Required: true},
		{Name: "cut", Type: incident.Strings, Default: []string{}},
		{Name: "open", Type: incident.Strings, Default: []string{}},
		{Name: "watch", Type: incident.String, Default: "10m"},
		{Name: "reachability_analyzer", Type: incident.Boolean, Default: true},
	}},
	{Name: "capture.metadata", Inputs: []incident.Field{
		{Name: "allow_unlocked", Type: incident.Boolean, Default: false},
	}},
	{Name: "capture.live", Impact: incident.Additive, Inputs: []incident.Field{
		{Name: "limit_minutes", Type: incident.Integer, Default: 5},
		{Name: "allow_unlocked", Type: incident.Boolean, Default: false},
	}},
	{Name: "capture.snapshots", Impact: incident.Additive, Inputs: []incident.Field{
		{Name: "lock_mode", Type: incident.String, Enum: []string{"governance", "compliance", "none"}, Default: "governance"},
		{Name: "lock_days", Type: incident.Integer, Default: 30},
	}, Outputs: []incident.Field{{Name: "snapshots", Type: incident.Strings}}},
	{Name: "capture.copy-snapshots", Impact: incident.Irreversible, Inputs: []incident.Field{
		{Name: "snapshots", Type: incident.Strings, Required: true, Late: true},
		{Name: "kms_key", Type: incident.String, Required: true},
		{Name: "account", Type: incident.String, Default: ""},
		{Name: "through_key", Type: incident.String, Default: ""},
		{Name: "lock_mode", Type: incident.String, Enum: []string{"governance", "compliance", "none"}, Default: "governance"},
		{Name: "lock_days", Type: incident.Integer, Default: 30},
	}, Outputs: []incident.Field{{Name: "copies", Type: incident.Strings}}},
	{Name: "capture.image", Impact: incident.Additive, Outputs: []incident.Field{{Name: "image", Type: incident.String}}},
	{Name: "capture.store-image", Impact: incident.Irreversible, Inputs: []incident.Field{
		{Name: "image", Type: incident.String, Required: true, Late: true},
		{Name: "bucket", Type: incident.String, Required: true},
		{Name: "lock_mode", Type: incident.String, Enum: []string{"governance", "compliance", "none"}, Default: "governance"},
		{Name: "lock_days", Type: incident.Integer, Default: 30},
	}, Outputs: []incident.Field{{Name: "object", Type: incident.String}}},
	{Name: "capture.export", Impact: incident.Additive, Inputs: []incident.Field{
		{Name: "snapshots", Type: incident.Strings, Required: true},
		{Name: "allow_unlocked", Type: incident.Boolean, Default: false},
	}, Outputs: []incident.Field{{Name: "images", Type: incident.Strings}}},
	{Name: "cleanroom.launch", Impact: incident.Additive, Inputs: []incident.Field{
		{Name: "snapshots", Type: incident.Strings, Required: true},
		{Name: "instance_type", Type: incident.String, Default: "t3.large"},
		{Name: "instances", Type: incident.Integer, Default: int64(1)},
		{Name: "image", Type: incident.String, Default: ""},
		{Name: "toolkit", Type: incident.String, Default: ""},
		{Name: "volume_key", Type: incident.String, Default: ""},
		{Name: "name", Type: incident.String, Default: ""},
		{Name: "keep_failed", Type: incident.Boolean, Default: false},
	}, Outputs: []incident.Field{
		{Name: "stack", Type: incident.String}, {Name: "instance", Type: incident.String}, {Name: "volumes", Type: incident.Strings},
	}},
}
