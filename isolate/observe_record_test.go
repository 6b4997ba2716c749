package isolate

import (
	"net/netip"
	"strings"
	"testing"
	"time"
)

func TestALineOfAFlowLogIsReadByItsFormat(t *testing.T) {
	custom, err := parseFlowFormat("${action} ${flow-direction} ${pkt-srcaddr} ${srcaddr} ${dstaddr} ${dstport} ${start} ${some-new-field}")
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name   string
		format flowFormat
		line   string
		want   flowRecord
	}{
		{
			"accepted", defaultFlowFormat,
			"2 111122223333 eni-0a 10.0.0.5 203.0.113.7 40000 443 6 20 4249 1418530010 1418530070 ACCEPT OK",
			flowRecord{
				Status: flowOK, Interface: "eni-0a", Accepted: true, Start: time.Unix(1418530010, 0).UTC(), End: time.Unix(1418530070, 0).UTC(),
				Src: netip.MustParseAddr("10.0.0.5"), Dst: netip.MustParseAddr("203.0.113.7"), SrcPort: 40000, DstPort: 443, Protocol: 6, Packets: 20, Bytes: 4249,
			},
		},
		{
			"nothing", defaultFlowFormat, "2 111122223333 eni-0a - - - - - - - 1431280876 1431280934 - NODATA",
			flowRecord{Status: flowNothing, Interface: "eni-0a", Start: time.Unix(1431280876, 0).UTC(), End: time.Unix(1431280934, 0).UTC()},
		},
		{
			"the packet's own address", custom, "REJECT ingress 192.0.2.1 10.0.0.9 10.0.0.5 22 1418530010 -",
			flowRecord{Status: flowOK, Start: time.Unix(1418530010, 0).UTC(), Src: netip.MustParseAddr("192.0.2.1"), Dst: netip.MustParseAddr("10.0.0.5"), DstPort: 22, Direction: "ingress"},
		},
	} {
		got, err := test.format.parse(test.line)
		if err != nil || got != test.want {
			t.Errorf("%s: %+v, %v", test.name, got, err)
		}
	}
}

func TestALineThatIsNotWellFormedIsRefused(t *testing.T) {
	good := "2 111122223333 eni-0a 10.0.0.5 203.0.113.7 40000 443 6 20 4249 1418530010 1418530070 ACCEPT OK"
	for _, change := range [][2]string{
		{" OK", ""}, {" OK", " OK "}, {" 443 ", " 70000 "}, {" 443 ", " 0443 "}, {"ACCEPT", "accept"}, {"ACCEPT", "-"}, {" OK", " NODATA"},
		{"203.0.113.7", "203.0.113"}, {"203.0.113.7", "fe80::1%eth0"}, {" 6 20 ", "  20 "}, {"1418530010", "-"}, {"1418530070", "1418530009"},
		{"1418530010", "253402300800"}, {" 20 ", " -20 "}, {" OK", " FINE"},
	} {
		line := strings.Replace(good, change[0], change[1], 1)
		if r, err := defaultFlowFormat.parse(line); err == nil {
			t.Errorf("%q was read as %+v", line, r)
		}
	}
	for _, format := range []string{"start", "${start} ${start}", "${Start}", "${start}${end}"} {
		if f, err := parseFlowFormat(format); err == nil {
			t.Errorf("%q was read as %v", format, f)
		}
	}
	f, err := parseFlowFormat("${srcaddr} ${end}")
	if err != nil || f.tells() == nil {
		t.Errorf("a format without start and action: %v, %v", err, f.tells())
	}
}

func FuzzFlowRecord(f *testing.F) {
	f.Add("", "2 111122223333 eni-0a 10.0.0.5 203.0.113.7 40000 443 6 20 4249 1418530010 1418530070 ACCEPT OK")
	f.Add("", "2 111122223333 eni-0a - - - - - - - 1431280876 1431280934 - SKIPDATA")
	f.Add("${start} ${action} ${pkt-dstaddr}", "1418530010 REJECT 2001:db8::1")
	f.Fuzz(func(t *testing.T, format, line string) {
		fields, err := parseFlowFormat(format)
		if err != nil {
			return
		}
		r, err := fields.parse(line)
		if err != nil {
			return
		}
		if n := len(strings.Split(line, " ")); n != len(fields) {
			t.Errorf("%d values for %d fields", n, len(fields))
		}
		if r.Start.IsZero() || r.Status == "" || r.Accepted && r.Status != flowOK {
			t.Errorf("%q was read as %+v", line, r)
		}
		if _, err := r.Start.MarshalJSON(); err != nil {
			t.Errorf("%q: %v", line, err)
		}
	})
}

func TestAFlowIsHeldToTheMostSpecificClaim(t *testing.T) {
	cut := claims([]string{
		"eni-0a (eth0) as 198.51.100.5 through internet-gateway igw-1 (0.0.0.0/0)",
		"eni-0a (eth0) with other subnets: acl-1 (10.0.1.0/24, 10.0.2.0/24)",
		"eni-0b (eth1) through nat-gateway nat-1 (0.0.0.0/0)",
	})
	open := claims([]string{
		"eni-0a (eth0) with neighbours in the same subnet subnet-1 (10.0.0.0/24)",
		"eni-0a (eth0) to the VPC resolver (DNS)",
		"eni-0b (eth1) through gateway-endpoint vpce-1 (pl-0123)",
	})
	for _, test := range []struct{ eni, remote, cut, open string }{
		{"eni-0a", "203.0.113.7", "igw-1", ""},
		{"eni-0a", "10.0.2.9", "acl-1", ""},
		{"eni-0a", "10.0.0.9", "", "same subnet"},
		{"eni-0b", "203.0.113.7", "", "pl-0123"}, // it may be one of the prefix list's
		{"eni-0c", "203.0.113.7", "", ""},
		{"eni-0a", "2001:db8::1", "", ""},
	} {
		c, o := said(cut, open, test.eni, netip.MustParseAddr(test.remote))
		if (c == nil) != (test.cut == "") || c != nil && !strings.Contains(c.Words, test.cut) ||
			(o == nil) != (test.open == "") || o != nil && !strings.Contains(o.Words, test.open) {
			t.Errorf("%s and %s: cut %v, open %v", test.eni, test.remote, c, o)
		}
	}
}
