package cli

import (
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/cordon-ir/cordon/cleanroom"
	"github.com/cordon-ir/cordon/cleanroom/proof"
	"github.com/cordon-ir/cordon/internal/evidence"
	"github.com/cordon-ir/cordon/internal/incident"
	"github.com/cordon-ir/cordon/internal/journal"
	"github.com/cordon-ir/cordon/internal/rehearsal"
	"github.com/cordon-ir/cordon/internal/triage"
)

// fields are the names under which a struct's fields, also of structs within
// it, are in its JSON. What is of a named type of its own is left to that.
func fields(t reflect.Type) []string {
	var names []string
	for f := range t.Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case f.Anonymous && name == "" && f.Type.Kind() == reflect.Struct:
			names = append(names, fields(f.Type)...)
		case name != "" && name != "-":
			names = append(names, name)
		}
	}
	return names
}

var fieldName = regexp.MustCompile("`([a-z0-9_]+)`")

func TestTheDocumentedFieldsAreThoseThatArePrinted(t *testing.T) {
	for _, page := range []struct {
		headings []string // the first one's tables are about the types; the others explain fields that they share
		types    []any
	}{
		{[]string{"`inventory`"}, []any{triage.Instance{}}},
		{[]string{"`triage`", "`inventory`"}, []any{
			triaged{}, triage.Path{}, triage.Rule{}, triage.Balancer{}, triage.Scaling{}, triage.Role{}, triage.Neighbours{}, triage.RoutedThere{}, triage.Impact{}, triage.Reason{},
		}},
		{[]string{"`run --output json`"}, []any{
			incident.Summary{}, incident.StepSummary{}, incident.TargetSummary{}, incident.Exposure{}, incident.Cut{}, incident.CleanRoom{}, evidence.Item{}, journalReport{},
		}},
		{[]string{"`playbook show`, `plan`, `case list`, `case show`, `cleanroom list`: `--output json`", "`run --output json`"}, []any{
			incident.Playbook{}, incident.Field{}, shownStep{}, shownPlan{}, incident.StepPlan{}, incident.Proposal{}, incident.Change{}, incident.LeftOut{}, incident.Permission{},
			caseSummary{}, runSummary{}, incident.RunPaused{},
		}},
		{[]string{"`cleanroom status --output json`"}, []any{
			cleanroom.Report{}, cleanroom.Instance{}, cleanroom.Volume{}, proof.Way{}, proof.Drift{}, session{}, closedRoom{},
		}},
		{[]string{"`evidence verify`"}, []any{verifyReport{}, evidence.CaseReport{}, evidence.ItemReport{}, evidence.Finding{}}},
		{[]string{"`evidence show --output json`", "`run --output json`"}, []any{shownItem{}, evidence.Event{}}},
		{[]string{"Other commands: `--output json`", "`run --output json`"}, []any{incident.Case{}, incident.TargetExposure{}, journal.Report{}, rehearsal.Scenario{}}},
	} {
		text := ""
		for _, h := range page.headings {
			text += section(t, "docs/cli.md", h)
		}
		printed := make(map[string]bool)
		for _, v := range page.types {
			for _, f := range fields(reflect.TypeOf(v)) {
				printed[f] = true
				if !strings.Contains(text, "`"+f+"`") {
					t.Errorf("docs/cli.md, %s, does not name the field %q of %T", page.headings[0], f, v)
				}
			}
		}
		for _, m := range fieldName.FindAllStringSubmatch(firstCells(section(t, "docs/cli.md", page.headings[0])), -1) {
			if !printed[m[1]] {
				t.Errorf("docs/cli.md, %s, names the field %q, which is not printed", page.headings[0], m[1])
			}
		}
	}
}

// firstCells are those of the tables of fields.
func firstCells(text string) string {
	var cells []string
	inTable := false
	for line := range strings.Lines(text) {
		row := strings.Split(line, "|")
		inTable = len(row) > 2 && (inTable || strings.TrimSpace(row[1]) == "field")
		if inTable {
			cells = append(cells, row[1])
		}
	}
	return strings.Join(cells, " ")
}

// The codes themselves are asserted where they come about: 1 to 5 and 7 in
// testdata/script, 6 in permissions_test.go, 130 in live.txtar.
func TestTheDocumentedExitCodesAreThoseThatExist(t *testing.T) {
	want := []int{exitDone, exitFailed, exitUsage, exitIncomplete, exitVerify, exitNotApproved, exitNotReady, exitHeld, exitInterrupted}
	code := regexp.MustCompile(`(?:^|[·:])\s*(\d+) [a-z]`)
	_, help, _ := strings.Cut(longHelp, "Exit codes")
	for name, text := range map[string]string{"docs/cli.md": strings.TrimSpace(section(t, "docs/cli.md", "Exit codes")), "cordon --help": help} {
		var got []int
		for _, m := range code.FindAllStringSubmatch(text, -1) {
			n, err := strconv.Atoi(m[1])
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, n)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s has the exit codes %v, there are %v", name, got, want)
		}
	}
}
