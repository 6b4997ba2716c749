package tui

import (
	"fmt"
	"slices"
	"strings"

	tea "charm.land/bubbletea/v2"

	"github.com/cordon-ir/cordon/internal/incident"
)

// inputKey changes the chosen input: what is one of a few is turned over, what is a text is typed.
func (p *Plan) inputKey(key string) tea.Cmd {
	f := p.playbook.Inputs[p.input]
	choices := choicesOf(f)
	switch key {
	case "up", "k":
		p.move(-1)
	case "down", "j":
		p.move(+1)
	case "pgup", "pgdown":
		p.detail.key(key)
	case "enter", "space":
		if choices == nil {
			return p.beginEdit(f)
		}
		return p.setInput(f, after(choices, p.value(f), +1))
	case "right", "left":
		by := map[string]int{"right": +1, "left": -1}[key]
		if choices != nil {
			return p.setInput(f, after(choices, p.value(f), by))
		}
	case "d":
		if _, ok := p.set[f.Name]; ok {
			delete(p.set, f.Name)
			p.notice = ""
			return p.replan()
		}
	}
	return nil
}

// choicesOf are an input's values, where it has one of a few.
func choicesOf(f incident.Field) []string {
	switch {
	case f.Type == incident.Boolean:
		return []string{"true", "false"}
	case f.Type == incident.String:
		return f.Enum
	}
	return nil
}

// after is the choice after this one, or before it; the first, where this is none.
func after(choices []string, value string, by int) string {
	at := slices.Index(choices, value)
	if at < 0 {
		return choices[0]
	}
	return choices[(at+by+len(choices))%len(choices)]
}

// value is what the input is planned with: what was edited, else what the plan took,
// which knows the configuration's defaults, else the playbook's default.
func (p *Plan) value(f incident.Field) string {
	if v, ok := p.set[f.Name]; ok {
		return v
	}
	if v, ok := p.plan.plan.Inputs[f.Name]; ok {
		return inputText(v)
	}
	return inputText(f.Default)
}

// inputText writes a value out of JSON as --set takes it.
func inputText(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case []any:
		var texts []string
		for _, e := range v {
			texts = append(texts, fmt.Sprint(e))
		}
		return strings.Join(texts, ",")
	case float64:
		return fmt.Sprintf("%.0f", v) // integers only: incident.FieldType has no fractions
	default:
		return fmt.Sprint(v)
	}
}

// setInput plans with another value.
func (p *Plan) setInput(f incident.Field, value string) tea.Cmd {
	p.set[f.Name], p.notice = value, ""
	return p.replan()
}

func (p *Plan) move(by int) {
	p.input, p.detail = min(max(p.input+by, 0), len(p.playbook.Inputs)-1), scroll{}
}

func (p *Plan) beginEdit(f incident.Field) tea.Cmd {
	p.editing = true
	p.typed.SetValue(p.value(f))
	if p.env.Theme.Still {
		p.typed.SetValue("") // who types whole lines can't take away what stands there
	}
	p.typed.CursorEnd()
	return nil
}

func (p *Plan) edit(msg tea.KeyPressMsg) tea.Cmd {
	switch msg.String() {
	case keyBack:
		p.editing = false
	case "enter":
		p.editing = false
		f := p.playbook.Inputs[p.input]
		if v := strings.TrimSpace(p.typed.Value()); v != p.value(f) {
			return p.setInput(f, v)
		}
	default:
		p.typed, _ = p.typed.Update(msg)
	}
	return nil
}

// wrongInput tells whether the command complained about this input.
func (p *Plan) wrongInput(name string) bool {
	if p.err == nil {
		return false
	}
	message, _ := explain(p.err)
	return strings.Contains(message, "input "+name+":")
}

// inputTable are the inputs with their values.
func (p *Plan) inputTable(size Size) string {
	t := p.env.Theme
	fields := p.playbook.Inputs
	if len(fields) == 0 {
		return "  this playbook takes no inputs"
	}
	name := 0
	for _, f := range fields {
		name = min(max(name, cells(f.Name)), size.W/2)
	}
	return listPart(t, p.input, len(fields), size, func(i int) string { return p.inputRow(t, i, name) })
}

func (p *Plan) inputRow(t *Theme, i, name int) string {
	f := p.playbook.Inputs[i]
	chosen := p.inputs && i == p.input
	label := fit(clean(f.Name), name)
	if chosen {
		label = t.Selected.Render(label)
	}
	row := t.Cursor(chosen) + label + "  "
	_, edited := p.set[f.Name]
	switch {
	case chosen && p.editing:
		return row + p.typed.View()
	case p.wrongInput(f.Name):
		return row + t.Bad.Render(t.State(incident.Failed).Symbol+" "+clean(p.value(f)))
	case edited:
		return row + t.Warn.Render(orEmpty(p.value(f))) + t.Dim.Render("  edited")
	default:
		return row + t.Plain.Render(orEmpty(p.value(f)))
	}
}

func orEmpty(value string) string {
	if value == "" {
		return "(empty)"
	}
	return clean(value)
}

// inputDetail is all that is known of the chosen input.
func (p *Plan) inputDetail(width int) string {
	if len(p.playbook.Inputs) == 0 {
		return ""
	}
	t, f := p.env.Theme, p.playbook.Inputs[p.input]
	d := &detail{t: t, width: width}
	d.rule(clean(f.Name))
	d.styled("  ", f.Description, t.Plain)
	d.b.WriteString("\n")
	d.text("  type", string(f.Type))
	d.text("  one of", strings.Join(choicesOf(f), ", "))
	if f.Type == incident.Strings {
		d.text("  written", "with commas between")
		d.text("  some of", strings.Join(f.Enum, ", "))
	}
	d.text("  default", defaultText(f))
	d.text("  now", orEmpty(p.value(f)))
	return d.b.String()
}
