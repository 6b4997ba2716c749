package config_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/adrg/xdg"

	"github.com/cordon-ir/cordon/internal/config"
	"github.com/cordon-ir/cordon/internal/problem"
)

func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestEveryFieldIsRead(t *testing.T) {
	got, err := config.Load(write(t, `profile: responder
region: eu-central-1
evidence:
  bucket: evidence-111122223333
  prefix: cordon/cases
  region: eu-west-1
  mode: compliance
  days: 400
  kms_key: alias/evidence
  legal_hold: true
accounts:
  "012345678901": {role: "arn:aws:iam::012345678901:role/cordon/responder"}
  111122223333: {role: "arn:aws-us-gov:iam::111122223333:role/responder"}
tags:
  owner: team
  queue: ops-queue
  classification: data
  criticality: tier
inputs:
  lock_days: 400
  cleanroom: false
  autoscaling_strategy: standby
  zones: [a, b]
`))
	want := config.Config{
		Profile: "responder", Region: "eu-central-1",
		Evidence: config.Evidence{Bucket: "evidence-111122223333", Prefix: "cordon/cases", Region: "eu-west-1", Mode: "compliance", Days: 400, KMSKey: "alias/evidence", LegalHold: true},
		Accounts: map[string]config.Account{
			"012345678901": {Role: "arn:aws:iam::012345678901:role/cordon/responder"},
			"111122223333": {Role: "arn:aws-us-gov:iam::111122223333:role/responder"},
		},
		Tags:   config.Tags{Owner: "team", Queue: "ops-queue", Classification: "data", Criticality: "tier"},
		Inputs: map[string]any{"lock_days": 400, "cleanroom": false, "autoscaling_strategy": "standby", "zones": []any{"a", "b"}},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestADirectoryIsBesideTheFile(t *testing.T) {
	path := write(t, "evidence: {directory: evidence}\n")
	got, err := config.Load(path)
	if err != nil || got.Evidence.Directory != filepath.Join(filepath.Dir(path), "evidence") {
		t.Errorf("got %s, %v", got.Evidence.Directory, err)
	}
}

func TestOnlyTheDefaultFileMayBeMissing(t *testing.T) {
	t.Setenv("XDG_CONFIG_HOME", t.TempDir())
	xdg.Reload()
	t.Cleanup(xdg.Reload)
	if got, err := config.Load(""); err != nil || !reflect.DeepEqual(got, config.Config{}) {
		t.Errorf("no default file: %+v, %v", got, err)
	}
	if _, err := config.Load(filepath.Join(t.TempDir(), "config.yaml")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no named file: %v", err)
	}
	if err := os.MkdirAll(filepath.Dir(config.DefaultFile()), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(config.DefaultFile(), []byte("profile: mine\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := config.Load(""); err != nil || got.Profile != "mine" {
		t.Errorf("default file: %+v, %v", got, err)
	}
}

func TestAFileThatSaysNothingIsFine(t *testing.T) {
	for _, text := range []string{"", "\n", "# nothing yet\n", "---\n"} {
		if got, err := config.Load(write(t, text)); err != nil || !reflect.DeepEqual(got, config.Config{}) {
			t.Errorf("%q: %+v, %v", text, got, err)
		}
	}
}

func TestWhatIsWrongIsReportedWithItsLine(t *testing.T) {
	tests := []struct {
		name, text string
		want       []string
	}{
		{"unknown field", "profil: x\n", []string{`1:1: there is no field "profil"`}},
		{"unknown nested field", "evidence:\n  bukket: x\n", []string{`2:3: there is no field "bukket"`}},
		{"duplicate", "region: eu-west-1\nregion: eu-west-1\n", []string{"2:1: "}},
		{"not YAML", "a: [\n", []string{"2:1: "}},
		{"a list", "- a\n", []string{"1:1: must be a mapping, not a list"}},
		{"number as text", "evidence: {days: many}\n", []string{`1:18: must be a whole number, not "many"`}},
		{"mapping for text", "region: {a: b}\n", []string{"1:9: must be text, not a mapping"}},
		{"region", "region: Frankfurt\n", []string{"1:9: region is not a Region's name"}},
		{"bucket", "evidence: {bucket: My_Bucket}\n", []string{"1:20: bucket is not a bucket's name"}},
		{"mode", "evidence:\n  mode: hard\n", []string{"2:9: mode must be governance or compliance"}},
		{"days", "evidence:\n  days: -1\n", []string{"2:9: days must be from 0"}},
		{"prefix", "evidence:\n  prefix: a/\n", []string{"2:11: prefix must not"}},
		{"both stores", "evidence:\n  bucket: abc\n  directory: d\n", []string{"3:14: evidence goes to a bucket or to a directory"}},
		{"retention of a directory", "evidence:\n  directory: d\n  days: 3\n", []string{"3:9: days is of a bucket"}},
		{"account", "accounts:\n  \"12\": {role: x}\n", []string{`2:9: account "12": an account's ID has 12 digits`}},
		{"no role", "accounts:\n  \"111122223333\": {}\n", []string{"2:19: account 111122223333 has no role"}},
		{"role", "accounts:\n  \"111122223333\": {role: responder}\n", []string{"2:26: must be a role's ARN: arn:aws:iam::111122223333:role/NAME"}},
		{"another account's role", "accounts:\n  \"111122223333\":\n    role: arn:aws:iam::999988887777:role/r\n", []string{"3:11: the role is of another account"}},
		{"input", "inputs:\n  days: 1.5\n", []string{"2:9: must be text, a whole number, true, false or a list of texts"}},
		{"all together", "evidence:\n  mode: hard\nregion: x\nprofil: y\n", []string{"2:9: mode must", "3:9: region is", `4:1: there is no field "profil"`}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := write(t, tt.text)
			_, err := config.Load(path)
			var problems *problem.Error
			if !errors.As(err, &problems) {
				t.Fatalf("got %v", err)
			}
			ok := len(problems.List) == len(tt.want)
			for i := 0; ok && i < len(tt.want); i++ {
				ok = strings.HasPrefix(problems.List[i].String(), path+":"+tt.want[i])
			}
			if !ok {
				t.Errorf("got\n%v\nwant\n%s", err, strings.Join(tt.want, "\n"))
			}
		})
	}
}
