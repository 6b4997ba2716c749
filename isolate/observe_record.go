package isolate

import (
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// flowFormat is the order of the fields in a flow log's records.
type flowFormat []string

// defaultFlowFormat is that of a flow log without a format of its own (VPC User
// Guide, "Flow log records", version 2 fields).
var defaultFlowFormat = flowFormat{
	"version", "account-id", "interface-id", "srcaddr", "dstaddr", "srcport", "dstport", "protocol",
	"packets", "bytes", "start", "end", "action", "log-status",
}

var flowFieldName = regexp.MustCompile(`^\$\{([a-z0-9-]{1,64})\}$`)

// parseFlowFormat reads what DescribeFlowLogs shows as a log's format:
// ${field} after ${field}. Fields that AWS adds later are taken as they are.
func parseFlowFormat(text string) (flowFormat, error) {
	if text == "" {
		return defaultFlowFormat, nil
	}
	var f flowFormat
	for _, word := range strings.Fields(text) {
		m := flowFieldName.FindStringSubmatch(word)
		if m == nil {
			return nil, fmt.Errorf("%q is no field of a flow log's format", word)
		}
		if slices.Contains(f, m[1]) {
			return nil, fmt.Errorf("field %s stands twice in the format", m[1])
		}
		f = append(f, m[1])
	}
	return f, nil
}

// tells reports whether a record in this format says when traffic passed, and
// whether it was accepted: without that, it proves nothing.
func (f flowFormat) tells() error {
	var missing []string
	for _, name := range []string{"start", "action"} {
		if !slices.Contains(f, name) {
			missing = append(missing, name)
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("its format has no field %s", strings.Join(missing, ", "))
	}
	return nil
}

// flowStatus is what became of an aggregation interval's records.
type flowStatus string

const (
	flowOK      flowStatus = "OK"
	flowNothing flowStatus = "NODATA"   // there was no traffic
	flowSkipped flowStatus = "SKIPDATA" // there may have been: it was not captured
)

// flowRecord is a line of a flow log. What a format does not have is zero.
type flowRecord struct {
	Status           flowStatus
	Interface        string
	Accepted         bool
	Start, End       time.Time
	Src, Dst         netip.Addr // of the packets themselves, where the format has them
	SrcPort, DstPort uint16
	Protocol         uint8
	Packets, Bytes   int64
	Direction        string // ingress, egress, or empty
}

// parse reads a line strictly: as many fields as the format has, single spaces
// between them, and each well-formed.
func (f flowFormat) parse(line string) (flowRecord, error) {
	values := strings.Split(line, " ")
	if len(values) != len(f) {
		return flowRecord{}, fmt.Errorf("%d fields, the format has %d", len(values), len(f))
	}
	var r flowRecord
	var action string
	for i, name := range f {
		if values[i] == "" {
			return flowRecord{}, fmt.Errorf("field %s is empty", name)
		}
		if values[i] == "-" { // not known, or does not apply
			continue
		}
		if name == "action" {
			action = values[i]
		}
		if err := r.set(name, values[i]); err != nil {
			return flowRecord{}, fmt.Errorf("field %s: %w", name, err)
		}
	}
	return r, r.check(f, action)
}

// check refuses what contradicts itself. Without a status, a line without an
// action is one of an interval of which nothing is known.
func (r *flowRecord) check(f flowFormat, action string) error {
	switch {
	case r.Status == "" && action == "":
		r.Status = flowSkipped
		if slices.Contains(f, "log-status") {
			return errors.New("neither status nor action")
		}
	case r.Status == "":
		r.Status = flowOK
	}
	switch {
	case r.Status == flowOK && action == "":
		return errors.New("it has no action")
	case r.Status != flowOK && action != "":
		return fmt.Errorf("it is %s and yet has the action %s", r.Status, action)
	case r.Start.IsZero():
		return errors.New("it has no start")
	case !r.End.IsZero() && r.End.Before(r.Start):
		return errors.New("it ends before it starts")
	}
	return nil
}

func (r *flowRecord) set(name, value string) (err error) {
	switch name {
	case "interface-id":
		r.Interface = value
	case "srcaddr", "pkt-srcaddr":
		err = setAddress(&r.Src, value, name == "srcaddr")
	case "dstaddr", "pkt-dstaddr":
		err = setAddress(&r.Dst, value, name == "dstaddr")
	case "srcport":
		r.SrcPort, err = number[uint16](value, 16)
	case "dstport":
		r.DstPort, err = number[uint16](value, 16)
	case "protocol":
		r.Protocol, err = number[uint8](value, 8)
	case "packets":
		r.Packets, err = number[int64](value, 63)
	case "bytes":
		r.Bytes, err = number[int64](value, 63)
	case "start":
		r.Start, err = seconds(value)
	case "end":
		r.End, err = seconds(value)
	case "action":
		r.Accepted, err = value == "ACCEPT", among(value, "ACCEPT", "REJECT")
	case "log-status":
		r.Status, err = flowStatus(value), among(value, string(flowOK), string(flowNothing), string(flowSkipped))
	case "flow-direction":
		r.Direction, err = value, among(value, "ingress", "egress")
	}
	return err
}

// setAddress keeps the packet's own address, which wins over the interface's:
// for a secondary address the latter is the primary one ("Flow log limitations").
func setAddress(to *netip.Addr, value string, interfaces bool) error {
	a, err := netip.ParseAddr(value)
	if err != nil || a.Zone() != "" {
		return fmt.Errorf("%q is no address", value)
	}
	if !interfaces || !to.IsValid() {
		*to = a
	}
	return nil
}

func number[T uint8 | uint16 | int64](value string, bits int) (T, error) {
	n, err := strconv.ParseUint(value, 10, bits)
	if err != nil || value != strconv.FormatUint(n, 10) {
		return 0, fmt.Errorf("%q is no number of this field", value)
	}
	return T(n), nil
}

// seconds reads Unix time. The year 10000 is beyond what JSON can write.
func seconds(value string) (time.Time, error) {
	n, err := number[int64](value, 63)
	if err != nil || n >= 253402300800 {
		return time.Time{}, fmt.Errorf("%q is no time", value)
	}
	return time.Unix(n, 0).UTC(), nil
}

func among(value string, words ...string) error {
	if !slices.Contains(words, value) {
		return fmt.Errorf("%q is none of %s", value, strings.Join(words, ", "))
	}
	return nil
}
