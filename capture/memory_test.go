package capture_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	ssmtypes "github.com/aws/aws-sdk-go-v2/service/ssm/types"

	"github.com/cordon-ir/cordon/internal/evidence"
	"github.com/cordon-ir/cordon/internal/incident"
	"github.com/cordon-ir/cordon/internal/rehearsal"
)

// ofMemory is what the simulated host has (docs/simulated-account.md), with some inputs changed.
func ofMemory(change map[string]any) map[string]any {
	with := map[string]any{
		"tool": "/usr/local/bin/avml", "tool_sha256": "1eb2b5bb72c23491e34b32e38034fb6a55eaff30e091f4e632c1b18c0dbfd1ee", "output": "/srv/memory.lime",
	}
	maps.Copy(with, change)
	return with
}

func TestMemoryIsAcquiredOnTheHostAndItsRecordStored(t *testing.T) {
	b := newBench(t)
	r, v := b.run("capture.memory", false, ofMemory(map[string]any{"kernel": "6.1.155-176.282.amzn2023.x86_64"}))
	if r.Outputs["path"] != "/srv/memory.lime" || r.Outputs["bytes"] != int64(4<<30) || len(v.Observed) != 1 {
		t.Errorf("outputs %v, observed %q", r.Outputs, v.Observed)
	}
	it := b.item("memory-" + b.target.Instance + "-01234567")
	if it.Kind != evidence.KindLog || it.Mode != "GOVERNANCE" || !strings.Contains(strings.Join(it.Notes, "\n"), "not in the evidence store") {
		t.Errorf("item %+v", it)
	}
	var rec map[string]any
	if err := json.Unmarshal(b.bytes(it), &rec); err != nil {
		t.Fatal(err)
	}
	if rec["sha256"] != r.Outputs["sha256"] || rec["command"] != *b.commands()[0].CommandId || rec["rehearsal"] != true || rec["begun"] == rec["ended"] {
		t.Errorf("record %v", rec)
	}
}

func TestTheMemoryCommandHandsTheHostNoCredentials(t *testing.T) {
	b := newBench(t)
	b.run("capture.memory", false, ofMemory(nil))
	c := b.commands()[0]
	script := strings.Join(c.Parameters["commands"], "\n")
	for _, never := range []string{"AWS_", "s3:", "http", "{{", b.target.Account} {
		if strings.Contains(script, never) {
			t.Errorf("the script holds %q", never)
		}
	}
	if len(*c.Comment) > 100 || aws.ToString(c.OutputS3BucketName) != "" || c.Parameters["executionTimeout"][0] != "1200" {
		t.Errorf("command %+v", c)
	}
}

func TestMemoryInputsAreRefusedWhilePlanningAllAtOnce(t *testing.T) {
	b := newBench(t)
	for _, c := range []struct {
		input string
		value any
	}{
		{"tool", ""}, {"tool", "avml"}, {"tool", "/opt/$(id)"}, {"tool", "/opt/a b"}, {"tool", "/opt/a'b"}, {"tool", "/opt/../avml"}, {"tool", "/opt/avml\n"},
		{"tool", "/opt//avml"}, {"tool", "/" + strings.Repeat("a", 255)}, {"tool", "/opt/{{x}}"},
		{"tool_sha256", ""}, {"tool_sha256", "abc"}, {"tool_sha256", strings.Repeat("A", 64)}, {"tool_sha256", strings.Repeat("0", 63) + ";"},
		{"output", "memory.lime"}, {"output", "/srv/"}, {"output", "/"}, {"output", "/srv/`id`"}, {"output", "/srv/;id"}, {"output", "/usr/local/bin/avml"},
		{"kernel", "6.1; id"}, {"kernel", "$x"}, {"kernel", strings.Repeat("6", 65)},
		{"limit_minutes", 0}, {"limit_minutes", 61},
	} {
		if _, err := b.plan("capture.memory", ofMemory(map[string]any{c.input: c.value})); err == nil || !strings.Contains(err.Error(), strings.TrimSuffix(c.input, "_sha256")) {
			t.Errorf("%s %q: %v", c.input, c.value, err)
		}
	}
	_, err := b.plan("capture.memory", map[string]any{"tool": "x", "tool_sha256": "y", "output": "z", "kernel": "!", "limit_minutes": 0})
	if err == nil || strings.Count(err.Error(), "\n") != 4 {
		t.Errorf("not all together: %v", err)
	}
	if n := len(b.commands()); n != 0 {
		t.Errorf("%d commands", n)
	}
}

func TestWhatTheHostRefusesIsNotRun(t *testing.T) {
	for want, change := range map[string]map[string]any{
		"SHA-256":     {"tool_sha256": strings.Repeat("0", 64)},
		"not there":   {"tool": "/opt/avml"},
		"root file":   {"output": "/var/memory.lime"},
		"the kernel ": {"kernel": "5.10.0"},
	} {
		t.Run(want, func(t *testing.T) {
			b := newBench(t)
			err := b.fails("capture.memory", false, ofMemory(change))
			var refused *incident.RefusedError
			var hint *incident.HintError
			if !errors.As(err, &refused) || !errors.As(err, &hint) || !strings.Contains(err.Error(), want) {
				t.Errorf("got %v", err)
			}
			if len(b.custody.Items) != 0 {
				t.Errorf("items %+v", b.custody.Items)
			}
			// The host is put right, and the step tried again: what was refused is asked for anew.
			b.run("capture.memory", true, ofMemory(nil))
			if n := len(b.commands()); n != 2 {
				t.Errorf("%d commands", n)
			}
		})
	}
}

func TestOnRootWritesToTheRootFileSystem(t *testing.T) {
	b := newBench(t)
	if r, _ := b.run("capture.memory", false, ofMemory(map[string]any{"output": "/var/memory.lime", "on_root": true})); r.Outputs["path"] != "/var/memory.lime" {
		t.Errorf("outputs %v", r.Outputs)
	}
}

func TestMemoryOfAnInstanceWithoutAnAgentIsRefusedWithAHint(t *testing.T) {
	b := newBench(t)
	b.silence()
	var hint *incident.HintError
	if _, err := b.plan("capture.memory", ofMemory(nil)); err == nil || !errors.As(err, &hint) || !strings.Contains(err.Error(), "no SSM agent answers") {
		t.Errorf("got %v", err)
	}
}

func TestAcquisitionEndsAtTheLimitAndIsNotRunAgain(t *testing.T) {
	b := newBench(t)
	start := b.account.Clock().Now()
	for range 2 {
		if err := b.fails("capture.memory", len(b.commands()) > 0, ofMemory(map[string]any{"limit_minutes": 1})); !strings.Contains(err.Error(), "limit of 1 min") {
			t.Errorf("got %v", err)
		}
	}
	if took := b.account.Clock().Now().Sub(start); took > 2*time.Minute || len(b.commands()) != 1 {
		t.Errorf("it took %s, %d commands", took, len(b.commands()))
	}
}

func TestAnAcquisitionThatNobodyTakesUpIsCancelled(t *testing.T) {
	b := newBench(t)
	b.inject(rehearsal.Fault{Operation: "ssm:SendCommand", Kind: "stuck", Count: 1})
	if err := b.fails("capture.memory", false, ofMemory(nil)); !strings.Contains(err.Error(), "DeliveryTimedOut") {
		t.Errorf("got %v", err)
	}
}

func TestAnAcquisitionThatNeverEndsIsCancelled(t *testing.T) {
	b := newBench(t)
	b.config = func(cfg aws.Config) aws.Config {
		return answering(cfg, "GetCommandInvocation", func(out any) {
			out.(*ssm.GetCommandInvocationOutput).Status = ssmtypes.CommandInvocationStatusInProgress
		})
	}
	cancelled := false
	whole := b.config
	b.config = func(cfg aws.Config) aws.Config {
		return answering(whole(cfg), "CancelCommand", func(any) { cancelled = true })
	}
	start := b.account.Clock().Now()
	err := b.fails("capture.memory", false, ofMemory(map[string]any{"limit_minutes": 3}))
	var hint *incident.HintError
	if took := b.account.Clock().Now().Sub(start); !cancelled || took > 4*time.Minute || !errors.As(err, &hint) {
		t.Errorf("cancelled %t, it took %s: %v", cancelled, took, err)
	}
}

func TestALostAnswerDoesNotRunTheToolTwice(t *testing.T) {
	b := newBench(t)
	b.inject(rehearsal.Fault{Operation: "ssm:SendCommand", Kind: "lost", Count: 1})
	b.run("capture.memory", false, ofMemory(nil))
	if n := len(b.commands()); n != 1 {
		t.Errorf("%d commands", n)
	}
}

// Wherever a try ends, the next one has the image's record, and the tool has run once.
func TestAnAcquisitionGoesOnAfterACrash(t *testing.T) {
	crash := errors.New("crash")
	for cut := range 3 {
		t.Run(fmt.Sprint("record ", cut), func(t *testing.T) {
			b := newBench(t)
			p, err := b.plan("capture.memory", ofMemory(nil))
			if err != nil {
				t.Fatal(err)
			}
			req, records := b.request("capture.memory", false, ofMemory(nil)), 0
			whole := req.Record
			req.Record = func(ctx context.Context, kind incident.EntryType, data any) error {
				if records++; records > cut {
					return crash
				}
				return whole(ctx, kind, data)
			}
			if _, err := b.action("capture.memory").Apply(t.Context(), req, p); !errors.Is(err, crash) {
				t.Fatalf("it did not crash: %v", err)
			}
			if r, _ := b.run("capture.memory", true, ofMemory(nil)); r.Outputs["path"] != "/srv/memory.lime" {
				t.Errorf("outputs %v", r.Outputs)
			}
			if len(b.custody.Items) != 1 || len(b.custody.Events) != 1 || len(b.commands()) != 1 {
				t.Errorf("%d items, %d events, %d commands", len(b.custody.Items), len(b.custody.Events), len(b.commands()))
			}
		})
	}
	t.Run("the store fails", func(t *testing.T) {
		b := newBench(t)
		b.inject(rehearsal.Fault{Operation: "s3:PutObject", Kind: "error", Code: "AccessDenied", Count: 1})
		b.fails("capture.memory", false, ofMemory(nil))
		b.run("capture.memory", true, ofMemory(nil))
		if n := len(b.commands()); n != 1 {
			t.Errorf("%d commands", n)
		}
	})
}

// What a host says that is not the script's answer is no acquisition.
func TestAHostThatLiesAboutTheImageIsNotBelieved(t *testing.T) {
	for _, said := range []string{"", "hello", `{"state":"done"}`, `{"state":"done","bytes":1,"sha256":"x"}`, `{"state":"what"}`} {
		b := newBench(t)
		b.config = func(cfg aws.Config) aws.Config {
			return answering(cfg, "GetCommandInvocation", func(out any) {
				out.(*ssm.GetCommandInvocationOutput).StandardOutputContent = &said
			})
		}
		if err := b.fails("capture.memory", false, ofMemory(nil)); len(b.custody.Items) != 0 {
			t.Errorf("%q: stored, %v", said, err)
		}
	}
}
