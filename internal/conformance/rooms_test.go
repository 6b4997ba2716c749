package conformance

import (
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// roomReport is as much of cleanroom status as the test looks at.
type roomReport struct {
	Name      string                               `json:"name"`
	State     string                               `json:"state"`
	VPC       string                               `json:"vpc"`
	Instances []struct{ ID, State string }         `json:"instances"`
	Volumes   []struct{ ID, State, Device string } `json:"volumes"`
	Checked   []string                             `json:"checked"`
	WaysOut   []struct{ Resource, Reason string }  `json:"ways_out"`
	Drift     []any                                `json:"drift"`
}

// A clean room's whole life: launched, with copies of the volumes attached, looked at, entered, closed.
func TestACleanRoomIsLaunchedProvenAndClosed(t *testing.T) {
	r := newResponder(t)
	playbook, err := filepath.Abs("testdata/examine.yaml")
	if err != nil {
		t.Fatal(err)
	}
	r.checked("examine", nil, "run", playbook, "--case", testCase, "--instance", r.w.Suspect)
	room := r.room()
	if room.State != "CREATE_COMPLETE" || len(room.Instances) != 1 || room.Instances[0].State != "running" || len(room.Drift) != 0 {
		t.Fatalf("the room is %+v", room)
	}
	r.openAsExplained(room)
	r.expect("the zones of its subnets", []string{"eu-central-1b", "eu-central-1b"}, "Subnets[].AvailabilityZone",
		"ec2", "describe-subnets", "--filters", "Name=vpc-id,Values="+room.VPC)
	instance := room.Instances[0].ID
	copies := []string{"ec2", "describe-volumes", "--filters", "Name=tag:cordon:case,Values=" + testCase}
	r.expect("its copies of the volumes", [][]any{{instance, "/dev/sdf", true}, {instance, "/dev/sdg", true}},
		"sort_by(Volumes[?Attachments[0].Device!='/dev/sda1'], &Attachments[0].Device)[].[Attachments[0].InstanceId, Attachments[0].Device, Encrypted]", copies...)
	r.entered(room.Name, instance)
	r.withoutSessions()
	r.closed(room, copies)
}

// withoutSessions answers for moto, which can't tell, that nobody is in the room.
func (r *responder) withoutSessions() {
	to, err := url.Parse(moto.endpoint)
	if err != nil {
		r.t.Fatal(err)
	}
	forward := &httputil.ReverseProxy{Rewrite: func(p *httputil.ProxyRequest) { p.SetURL(to) }}
	between := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if q.Header.Get("X-Amz-Target") != "AmazonSSM.DescribeSessions" {
			forward.ServeHTTP(w, q)
			return
		}
		_, _ = io.Copy(io.Discard, q.Body)
		w.Header().Set("Content-Type", "application/x-amz-json-1.1")
		_, _ = io.WriteString(w, `{"Sessions":[]}`)
	}))
	r.t.Cleanup(between.Close)
	r.env = append(r.env, "AWS_ENDPOINT_URL="+between.URL)
}

// room is the case's only one, which the proof must find open: moto can't make a closed one.
func (r *responder) room() roomReport {
	r.t.Helper()
	var rooms []roomReport
	if err := json.Unmarshal(r.ends(4, "cleanroom", "status", "--case", testCase), &rooms); err != nil || len(rooms) != 1 {
		r.t.Fatalf("the rooms are %+v, %v", rooms, err)
	}
	return rooms[0]
}

// openAsExplained: the proof finds what moto makes otherwise than the template says, each time, and nothing else. What
// it can judge in moto it finds closed.
func (r *responder) openAsExplained(room roomReport) {
	r.t.Helper()
	want, got := make(map[string]int), make(map[string]int)
	for _, d := range deviations {
		for _, o := range d.opens {
			want[o.says] += o.ways
		}
	}
	for _, w := range room.WaysOut {
		says := w.Resource + ": " + w.Reason
		for explained := range want {
			if strings.Contains(w.Reason, explained) {
				says = explained
			}
		}
		got[says]++
	}
	if !maps.Equal(got, want) {
		r.t.Errorf("the proof finds %v; moto's deviations explain %v", got, want)
	}
	if want := []string{"no gateway, peering, VPN, transit gateway attachment, or association with another network", "every route stays in the network or leads to an endpoint", "no public or IPv6 address, no subnet that gives one, no address block but the network's own"}; !slices.Equal(room.Checked, want) {
		r.t.Errorf("found closed: %q, want %q", room.Checked, want)
	}
}

// entered: the command that starts a session names the instance, and the document that logs sessions.
func (r *responder) entered(name, instance string) {
	r.t.Helper()
	var door struct{ Instance, Document string }
	if err := json.Unmarshal(r.cordon("cleanroom", "connect", "--print", "--case", testCase), &door); err != nil || door.Instance != instance {
		r.t.Errorf("the door is %+v, %v", door, err)
	}
	r.expect("the document of its sessions", []string{door.Document}, "StackResources[?ResourceType=='AWS::SSM::Document'].PhysicalResourceId",
		"cloudformation", "describe-stack-resources", "--stack-name", name)
}

// closed closes the room: what an examiner found is in custody, and nothing is left but the evidence. The close fails
// where moto can't detach a volume, and goes on once somebody else has done that.
func (r *responder) closed(room roomReport, copies []string) {
	r.t.Helper()
	note := filepath.Join(r.home, "notes.txt")
	if err := os.WriteFile(note, []byte("a web shell in /var/www"), 0o600); err != nil {
		r.t.Fatal(err)
	}
	r.aws("VersionId", "s3api", "put-object", "--bucket", r.w.Bucket, "--key", "rooms/"+testCase+"/"+room.Name+"/findings/notes.txt", "--body", note)
	r.ends(1, "cleanroom", "close", "--case", testCase)
	r.expect("its stack, while a volume can't be detached", []string{"CREATE_COMPLETE"}, "Stacks[?starts_with(StackName, 'cordon-')].StackStatus", "cloudformation", "describe-stacks")
	r.giveWay(room)
	r.cordon("cleanroom", "close", "--case", testCase)
	r.expect("its stack", []string{}, "Stacks[?starts_with(StackName, 'cordon-')].StackName", "cloudformation", "describe-stacks")
	r.expect("its network", []string{}, "Vpcs[?VpcId=='"+room.VPC+"'].VpcId", "ec2", "describe-vpcs")
	r.expect("its volumes", []string{}, "Volumes[].VolumeId", copies...)
	r.snapshotted()
	var rooms []struct{ Event string }
	if err := json.Unmarshal(r.cordon("cleanroom", "list", "--case", testCase), &rooms); err != nil || len(rooms) != 1 || rooms[0].Event != "closed" {
		r.t.Errorf("the rooms are %+v, %v", rooms, err)
	}
	var kept struct {
		Items []struct{ Kind string }
	}
	if err := json.Unmarshal(r.cordon("evidence", "list", "--case", testCase), &kept); err != nil {
		r.t.Fatal(err)
	}
	kinds := make(map[string]int)
	for _, item := range kept.Items {
		kinds[item.Kind]++
	}
	for kind, want := range map[string]int{"finding": 1, "log": 3, "snapshot": 2} {
		if kinds[kind] != want {
			r.t.Errorf("%d items of kind %s are in custody, want %d: %v", kinds[kind], kind, want, kinds)
		}
	}
}

// giveWay does what moto can't do when a room is closed: it detaches the volumes, and deletes the route tables.
func (r *responder) giveWay(room roomReport) {
	r.t.Helper()
	for _, v := range room.Volumes {
		r.aws("State", "ec2", "detach-volume", "--volume-id", v.ID, "--instance-id", room.Instances[0].ID)
	}
	in := []string{"ec2", "describe-route-tables", "--filters", "Name=vpc-id,Values=" + room.VPC}
	for _, id := range r.texts("RouteTables[].Associations[?!Main][].RouteTableAssociationId", in...) {
		r.aws("Return", "ec2", "disassociate-route-table", "--association-id", id)
	}
	for _, id := range r.texts("RouteTables[?length(Associations[?Main])==`0`].RouteTableId", in...) {
		r.aws("Return", "ec2", "delete-route-table", "--route-table-id", id)
	}
}
