package capture_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	ssmtypes "github.com/aws/aws-sdk-go-v2/service/ssm/types"

	"github.com/cordon-ir/cordon/internal/evidence"
	"github.com/cordon-ir/cordon/internal/incident"
	"github.com/cordon-ir/cordon/internal/rehearsal"
)

func (b *bench) commands() []ssmtypes.Command {
	b.t.Helper()
	out, err := ssm.NewFromConfig(b.account.Config(b.target.Region)).ListCommands(b.t.Context(), &ssm.ListCommandsInput{InstanceId: &b.target.Instance})
	if err != nil {
		b.t.Fatal(err)
	}
	return out.Commands
}

func (b *bench) live(name string) string {
	return "live-" + name + "-" + b.target.Instance + "-01234567"
}

func TestLiveResponseShowsWhatTheIntruderRuns(t *testing.T) {
	b := newBench(t)
	start := b.account.Clock().Now()
	r, v := b.run("capture.live", false, nil)
	ids := r.Outputs["items"].([]string)
	if len(ids) != 9 || len(v.Observed) != 9 || ids[0] != b.live("sockets") || ids[2] != b.live("processes") {
		t.Errorf("items %q, observed %q", ids, v.Observed)
	}
	for name, want := range map[string]string{
		"sockets": "203.0.113.66:443", "processes": "/bin/sh -i", "deleted-files": "/var/tmp/.stage.sh (deleted)", "schedules": "php-sessions",
		"modules": "nvme", "system": "Linux",
	} {
		it := b.item(b.live(name))
		text := string(b.bytes(it))
		head, said, _ := strings.Cut(text, "\n\n")
		if !strings.Contains(said, want) || !strings.Contains(head, "# script: ") || !strings.Contains(head, "# rehearsal: ") {
			t.Errorf("%s, without %q:\n%s", name, want, text)
		}
		if it.Kind != evidence.KindLog || it.Mode != "GOVERNANCE" || len(it.Notes) != 0 {
			t.Errorf("item %+v", it)
		}
	}
	if took := b.account.Clock().Now().Sub(start); took > 30*time.Second {
		t.Errorf("it took %s", took)
	}
}

func TestLiveCommandsHandNothingToTheHostAndNameNoBucket(t *testing.T) {
	b := newBench(t)
	b.run("capture.live", false, nil)
	for _, c := range b.commands() {
		if aws.ToString(c.DocumentName) != "AWS-RunShellScript" || aws.ToString(c.OutputS3BucketName) != "" || c.CloudWatchOutputConfig != nil || len(*c.Comment) > 100 {
			t.Errorf("command %+v", c)
		}
		script := strings.Join(c.Parameters["commands"], "\n")
		if strings.Count(script, "'") != 2 || strings.Contains(script, ">/") || strings.Contains(script, "> ") {
			t.Errorf("script %q: the quotes do not fit, or it writes to a file", script)
		}
	}
}

func TestAnInstanceWithoutAnAgentIsNoted(t *testing.T) {
	b := newBench(t)
	b.silence()
	p, err := b.plan("capture.live", nil)
	if err != nil || !strings.Contains(strings.Join(p.Notes, "\n"), "no SSM agent answers") {
		t.Fatalf("notes %q, %v", p.Notes, err)
	}
	r, v := b.run("capture.live", false, nil)
	if len(r.Outputs["items"].([]string)) != 0 || len(v.Observed) != 1 || !strings.Contains(v.Observed[0], "no SSM agent answers") {
		t.Errorf("outputs %v, observed %q", r.Outputs, v.Observed)
	}
	if notes := b.entries["capture.live"][incident.EntryNote]; len(notes) != 1 {
		t.Errorf("notes %s", notes)
	}
}

// silence leaves the instance in groups that let nothing out.
func (b *bench) silence() {
	b.t.Helper()
	out, err := b.ec2().DescribeInstances(b.t.Context(), &ec2.DescribeInstancesInput{InstanceIds: []string{b.target.Instance}})
	if err != nil {
		b.t.Fatal(err)
	}
	seen := make(map[string]bool)
	for _, n := range out.Reservations[0].Instances[0].NetworkInterfaces {
		for _, g := range n.Groups {
			if seen[*g.GroupId] {
				continue
			}
			seen[*g.GroupId] = true
			_, err := b.ec2().RevokeSecurityGroupEgress(b.t.Context(), &ec2.RevokeSecurityGroupEgressInput{GroupId: g.GroupId, IpPermissions: []types.IpPermission{
				{IpProtocol: aws.String("-1"), IpRanges: []types.IpRange{{CidrIp: aws.String("0.0.0.0/0")}}},
			}})
			if err != nil {
				b.t.Fatal(err)
			}
		}
	}
}

func TestAnAgentThatTakesNoCommandsIsNotWaitedForTwice(t *testing.T) {
	b := newBench(t)
	b.inject(rehearsal.Fault{Operation: "ssm:SendCommand", Kind: "stuck", Skip: 2, Count: 100})
	start := b.account.Clock().Now()
	r, v := b.run("capture.live", false, nil)
	if n := len(r.Outputs["items"].([]string)); n != 2 || len(v.Observed) != 9 {
		t.Errorf("%d items, observed %q", n, v.Observed)
	}
	if took := b.account.Clock().Now().Sub(start); took > 90*time.Second {
		t.Errorf("it took %s", took)
	}
	commands := b.commands()
	if len(commands) != 3 || !slices.Contains([]ssmtypes.CommandStatus{"Cancelled", "TimedOut"}, commands[0].Status) {
		t.Errorf("commands %+v", commands)
	}
}

func TestCommandsThatNeverEndAreCancelledAndTheLimitHolds(t *testing.T) {
	b := newBench(t)
	b.config = func(cfg aws.Config) aws.Config {
		return answering(cfg, "GetCommandInvocation", func(out any) {
			out.(*ssm.GetCommandInvocationOutput).Status = ssmtypes.CommandInvocationStatusInProgress
		})
	}
	start := b.account.Clock().Now()
	r, v := b.run("capture.live", false, map[string]any{"limit_minutes": 2})
	if len(r.Outputs["items"].([]string)) != 0 || !strings.Contains(strings.Join(v.Observed, "\n"), "the time limit was reached") {
		t.Errorf("outputs %v, observed %q", r.Outputs, v.Observed)
	}
	if took := b.account.Clock().Now().Sub(start); took > 3*time.Minute {
		t.Errorf("it took %s", took)
	}
}

func TestAnOutputThatWasCutIsKeptAndSaysSo(t *testing.T) {
	b := newBench(t)
	b.config = func(cfg aws.Config) aws.Config {
		return answering(cfg, "GetCommandInvocation", func(out any) {
			o := out.(*ssm.GetCommandInvocationOutput)
			if s := aws.ToString(o.StandardOutputContent); len(s) > 400 {
				o.StandardOutputContent = aws.String(s[:401] + "\n---Output truncated---")
			}
		})
	}
	b.run("capture.live", false, nil)
	it := b.item(b.live("processes"))
	text := string(b.bytes(it))
	if len(it.Notes) != 1 || !strings.Contains(it.Notes[0], "24,000") || !strings.Contains(text, "# note: cut") || !strings.Contains(text, "systemd") {
		t.Errorf("notes %q:\n%s", it.Notes, text)
	}
	if it := b.item(b.live("modules")); len(it.Notes) != 0 {
		t.Errorf("what is whole: %q", it.Notes)
	}
}

func TestAHostThatDoesNotCompressIsTakenAtItsWord(t *testing.T) {
	b := newBench(t)
	b.config = func(cfg aws.Config) aws.Config {
		return answering(cfg, "GetCommandInvocation", func(out any) {
			out.(*ssm.GetCommandInvocationOutput).StandardOutputContent = aws.String("sh: gzip: not found\n")
		})
	}
	b.run("capture.live", false, nil)
	it := b.item(b.live("users"))
	if text := string(b.bytes(it)); !strings.HasSuffix(text, "\n\nsh: gzip: not found\n") || len(it.Notes) != 1 {
		t.Errorf("notes %q:\n%s", it.Notes, text)
	}
}

func TestLimitsOutOfRangeAreRefused(t *testing.T) {
	b := newBench(t)
	for _, minutes := range []int{-1, 0, 31} {
		if _, err := b.plan("capture.live", map[string]any{"limit_minutes": minutes}); err == nil {
			t.Errorf("%d minutes: planned", minutes)
		}
	}
}

// Wherever a try ends, the next one has every artefact, once.
func TestLiveResponseGoesOnAfterACrash(t *testing.T) {
	for cut := range 12 {
		t.Run(fmt.Sprint(cut), func(t *testing.T) {
			b := newBench(t)
			p, err := b.plan("capture.live", nil)
			if err != nil {
				t.Fatal(err)
			}
			req, records := b.request("capture.live", false, nil), 0
			whole := req.Record
			crash := errors.New("crash")
			req.Record = func(ctx context.Context, kind incident.EntryType, data any) error {
				if records++; records > cut {
					return crash
				}
				return whole(ctx, kind, data)
			}
			if _, err := b.action("capture.live").Apply(t.Context(), req, p); !errors.Is(err, crash) {
				t.Fatalf("it did not crash: %v", err)
			}
			b.run("capture.live", true, nil)
			if len(b.custody.Items) != 9 || len(b.custody.Events) != 9 || len(b.commands()) != 9 {
				t.Errorf("%d items, %d events, %d commands", len(b.custody.Items), len(b.custody.Events), len(b.commands()))
			}
		})
	}
}

func TestACommandWhoseTryCrashedIsTakenUpByItsComment(t *testing.T) {
	b := newBench(t)
	p, err := b.plan("capture.live", nil)
	if err != nil {
		t.Fatal(err)
	}
	b.inject(rehearsal.Fault{Operation: "s3:PutObject", Kind: "error", Code: "AccessDenied", Count: 1})
	if _, err := b.action("capture.live").Apply(t.Context(), b.request("capture.live", false, nil), p); err == nil {
		t.Fatal("the store's failure is no failure")
	}
	b.run("capture.live", true, nil)
	if n := len(b.commands()); n != 9 {
		t.Errorf("%d commands", n)
	}
}
