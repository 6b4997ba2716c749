package playbooks

import (
	"encoding/json"
	"maps"
	"slices"

	"github.com/cordon-ir/cordon/internal/incident"
)

// object is a JSON object; encoding/json sorts its keys, so that the schema's
// text is always the same.
type object = map[string]any

// Schema is the JSON Schema (draft 2020-12) of the format, with the inputs of
// each action, for editors. It says what a schema can: names, types, choices. References,
// conditions and the graph are checked by Parse only.
func Schema(specs []incident.Spec) ([]byte, error) {
	byName := make(map[string]incident.Spec, len(specs))
	for _, s := range specs {
		byName[s.Name] = s
	}
	actions := slices.Sorted(maps.Keys(byName))
	var perAction []any
	for _, name := range actions {
		perAction = append(perAction, actionSchema(byName[name]))
	}
	step := closed(object{
		"id":         object{"type": "string", "pattern": identifier.String(), "not": object{"enum": reserved}, "description": "names the step in needs and expressions"},
		"title":      object{"type": "string", "pattern": `\S`},
		"action":     object{"enum": actions},
		"needs":      object{"type": "array", "items": object{"type": "string"}, "uniqueItems": true, "description": "steps that must have ended before"},
		"with":       object{"type": "object", "description": "the action's inputs"},
		"when":       object{"anyOf": []any{object{"type": "boolean"}, expression()}, "description": "the step is skipped where this is false"},
		"timeout":    object{"type": "string", "pattern": `^\+?([0-9.]+(ns|us|µs|μs|ms|s|m|h))+$`, "description": "of one try: 90s, 10m, 1h30m; default: the action's"},
		"on_failure": object{"enum": []any{incident.Stop, incident.Continue}, "default": incident.Stop},
		"approval":   object{"enum": []any{incident.ApprovalAuto, incident.ApprovalRequired, incident.ApprovalNone}, "default": incident.ApprovalAuto},
	}, "id", "action")
	if len(perAction) > 0 {
		step["allOf"] = perAction
	}
	schema := closed(object{
		"name":    object{"type": "string", "pattern": playbookName.String()},
		"title":   object{"type": "string", "pattern": `\S`},
		"summary": object{"type": "string", "pattern": `\S`},
		"inputs": object{
			"type": "object", "propertyNames": object{"pattern": identifier.String(), "not": object{"enum": reserved}},
			"additionalProperties": inputSchema(),
		},
		"steps": object{"type": "array", "items": step, "minItems": 1},
	}, "name", "title", "steps")
	schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	schema["title"] = "cordon playbook"
	b, err := json.MarshalIndent(schema, "", "  ")
	if err != nil {
		return nil, err
	}
	return append(b, '\n'), nil
}

func closed(properties object, required ...string) object {
	o := object{"type": "object", "properties": properties, "additionalProperties": false}
	if len(required) > 0 {
		o["required"] = required
	}
	return o
}

func expression() object {
	return object{"type": "string", "pattern": `^\s*\$\{\{[\s\S]*\}\}\s*$`}
}

// actionSchema: where a step uses this action, its with has these inputs.
func actionSchema(s incident.Spec) object {
	inputs := make(object)
	var required []string
	for _, f := range s.Inputs {
		value := object{"anyOf": []any{literalSchema(f), expression()}}
		if f.Type == incident.String && len(f.Enum) == 0 {
			value = literalSchema(f) // text, with or without expressions in it
		}
		if f.Description != "" {
			value["description"] = f.Description
		}
		if f.Default != nil {
			value["default"] = f.Default
		}
		inputs[f.Name] = value
		if f.Required {
			required = append(required, f.Name)
		}
	}
	then := object{"properties": object{"with": closed(inputs, required...)}}
	if len(required) > 0 {
		then["required"] = []string{"with"}
	}
	return object{
		"if":   object{"properties": object{"action": object{"const": s.Name}}, "required": []string{"action"}},
		"then": then,
	}
}

func literalSchema(f incident.Field) object {
	switch f.Type {
	case incident.Boolean:
		return object{"type": "boolean"}
	case incident.Integer:
		return object{"type": "integer"}
	case incident.Strings:
		items := object{"type": "string"}
		if len(f.Enum) > 0 {
			items = object{"enum": f.Enum}
		}
		return object{"type": "array", "items": items}
	}
	if len(f.Enum) > 0 {
		return object{"enum": f.Enum}
	}
	return object{"type": "string"}
}

// inputSchema is one input of a playbook: the default's type follows the type, and what is not required has one.
func inputSchema() object {
	o := closed(object{
		"type":        object{"enum": []any{incident.String, incident.Integer, incident.Boolean, incident.Strings}},
		"description": object{"type": "string", "pattern": `\S`},
		"required":    object{"type": "boolean"},
		"default":     true,
		"enum":        object{"type": "array", "items": object{"type": "string"}, "minItems": 1, "uniqueItems": true},
	}, "type")
	var rules []any
	for _, t := range []incident.FieldType{incident.String, incident.Integer, incident.Boolean, incident.Strings} {
		properties := object{"default": literalSchema(incident.Field{Type: t})}
		if t != incident.String && t != incident.Strings {
			properties["enum"] = false
		}
		rules = append(rules, object{
			"if":   object{"properties": object{"type": object{"const": t}}, "required": []string{"type"}},
			"then": object{"properties": properties},
		})
	}
	o["allOf"] = rules
	o["if"] = object{"properties": object{"required": object{"const": true}}, "required": []string{"required"}}
	o["then"] = object{"properties": object{"default": false}}
	o["else"] = object{"required": []string{"default"}}
	return o
}
