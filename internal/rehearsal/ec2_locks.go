package rehearsal

import (
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// snapshotLock keeps a snapshot from being deleted (EBS User Guide, "Amazon EBS
// snapshot lock").
type snapshotLock struct {
	Mode    types.LockMode `json:"mode"`
	Created time.Time      `json:"created"`
	// Starts is when the duration starts: once the snapshot is completed.
	Starts    time.Time `json:"starts"`
	Days      int32     `json:"days"`
	Until     time.Time `json:"until"`
	Hours     int32     `json:"hours,omitempty"`     // of the cooling-off period; compliance only
	CoolsDown time.Time `json:"cools_down,omitzero"` // when that period ends
}

// state is empty where there is no lock.
func (l *snapshotLock) state(now time.Time) types.LockState {
	switch {
	case l == nil:
		return ""
	case !now.Before(l.Until):
		return types.LockStateExpired
	case l.Mode == types.LockModeGovernance:
		return types.LockStateGovernance
	case now.Before(l.CoolsDown):
		return types.LockStateComplianceCooloff
	}
	return types.LockStateCompliance
}

// holds: nobody can delete the snapshot as long as this is so.
func (l *snapshotLock) holds(now time.Time) bool {
	s := l.state(now)
	return s != "" && s != types.LockStateExpired
}

// ec2LockSnapshot: API_LockSnapshot. Also for pending snapshots, and to change a
// lock: once compliance has cooled off it can only be made longer.
func ec2LockSnapshot(c *call, in *ec2.LockSnapshotInput) (*ec2.LockSnapshotOutput, error) {
	snap, err := c.ownSnapshot(in.SnapshotId)
	if err != nil {
		return nil, err
	}
	l, err := newLock(c.Now, snap, in)
	if err != nil {
		return nil, err
	}
	if snap.Lock.state(c.Now) == types.LockStateCompliance {
		if l.Mode != types.LockModeCompliance || in.CoolOffPeriod != nil || l.Until.Before(snap.Lock.Until) {
			return nil, apiError("OperationNotPermitted", fmt.Sprintf("The snapshot '%s' is locked in compliance mode: its lock can only be extended.", snap.ID))
		}
		l.Created, l.Hours, l.CoolsDown = snap.Lock.Created, snap.Lock.Hours, snap.Lock.CoolsDown
	}
	snap.Lock = l
	shown := c.showLock(snap)
	return &ec2.LockSnapshotOutput{
		SnapshotId: shown.SnapshotId, LockState: shown.LockState, LockDuration: shown.LockDuration, CoolOffPeriod: shown.CoolOffPeriod,
		CoolOffPeriodExpiresOn: shown.CoolOffPeriodExpiresOn, LockCreatedOn: shown.LockCreatedOn, LockExpiresOn: shown.LockExpiresOn,
		LockDurationStartTime: shown.LockDurationStartTime,
	}, nil
}

// newLock checks what a lock is asked to be: exactly one of a duration (days) and a date.
func newLock(now time.Time, snap *snapshot, in *ec2.LockSnapshotInput) (*snapshotLock, error) {
	l := &snapshotLock{Mode: in.LockMode, Created: now, Starts: now}
	if snap.Completes.After(now) {
		l.Starts = snap.Completes
	}
	switch {
	case l.Mode != types.LockModeCompliance && l.Mode != types.LockModeGovernance:
		return nil, apiError("InvalidParameterValue", fmt.Sprintf("Value (%s) for parameter LockMode is invalid.", l.Mode))
	case (in.LockDuration == nil) == (in.ExpirationDate == nil):
		return nil, apiError("InvalidParameterCombination", "Exactly one of LockDuration and ExpirationDate must be specified.")
	case in.LockDuration != nil && (*in.LockDuration < 1 || *in.LockDuration > 36500):
		return nil, apiError("InvalidParameterValue", fmt.Sprintf("Value (%d) for parameter LockDuration is invalid. Expecting a value between 1 and 36500.", *in.LockDuration))
	case in.ExpirationDate != nil && !in.ExpirationDate.After(now):
		return nil, apiError("InvalidParameterValue", "ExpirationDate must be in the future.")
	case in.CoolOffPeriod != nil && l.Mode == types.LockModeGovernance:
		return nil, apiError("InvalidParameterCombination", "CoolOffPeriod can't be specified in governance mode.")
	case in.CoolOffPeriod != nil && (*in.CoolOffPeriod < 1 || *in.CoolOffPeriod > 72):
		return nil, apiError("InvalidParameterValue", fmt.Sprintf("Value (%d) for parameter CoolOffPeriod is invalid. Expecting a value between 1 and 72.", *in.CoolOffPeriod))
	}
	if in.CoolOffPeriod != nil {
		l.Hours, l.CoolsDown = *in.CoolOffPeriod, now.Add(time.Duration(*in.CoolOffPeriod)*time.Hour)
	}
	if in.LockDuration != nil {
		l.Days, l.Until = *in.LockDuration, l.Starts.AddDate(0, 0, int(*in.LockDuration))
	} else {
		l.Days, l.Until = int32(in.ExpirationDate.Sub(l.Starts)/(24*time.Hour)), in.ExpirationDate.UTC()
	}
	return l, nil
}

// showLock: API_LockedSnapshotsInfo.
func (c *call) showLock(snap *snapshot) types.LockedSnapshotsInfo {
	l := snap.Lock
	out := types.LockedSnapshotsInfo{
		SnapshotId: &snap.ID, OwnerId: &snap.Owner, LockState: l.state(c.Now), LockDuration: &l.Days, LockCreatedOn: &l.Created,
		LockDurationStartTime: &l.Starts, LockExpiresOn: &l.Until,
	}
	if l.Hours > 0 {
		out.CoolOffPeriod, out.CoolOffPeriodExpiresOn = &l.Hours, &l.CoolsDown
	}
	return out
}

// ec2UnlockSnapshot: API_UnlockSnapshot. Not in compliance mode once it has cooled off.
func ec2UnlockSnapshot(c *call, in *ec2.UnlockSnapshotInput) (*ec2.UnlockSnapshotOutput, error) {
	snap, err := c.ownSnapshot(in.SnapshotId)
	if err != nil {
		return nil, err
	}
	switch snap.Lock.state(c.Now) {
	case "", types.LockStateExpired:
		return nil, apiError("InvalidParameterValue", fmt.Sprintf("The snapshot '%s' is not locked.", snap.ID))
	case types.LockStateCompliance:
		return nil, apiError("OperationNotPermitted", fmt.Sprintf("The snapshot '%s' is locked in compliance mode and can't be unlocked.", snap.ID))
	}
	snap.Lock = nil
	return &ec2.UnlockSnapshotOutput{SnapshotId: &snap.ID}, nil
}

// ec2DescribeLockedSnapshots: API_DescribeLockedSnapshots. A snapshot without a lock
// is not listed, even where it is asked for by its ID.
func ec2DescribeLockedSnapshots(c *call, in *ec2.DescribeLockedSnapshotsInput) (*ec2.DescribeLockedSnapshotsOutput, error) {
	locked := make(map[string]*snapshot)
	for id, snap := range c.ec2().Snapshots {
		if snap.Lock != nil {
			locked[id] = snap
		}
	}
	q := listing{query{nil, in.Filters}, in.MaxResults, in.NextToken}
	for _, id := range in.SnapshotIds {
		if _, err := get(kindSnapshot, c.ec2().Snapshots, aws.String(id)); err != nil {
			return nil, err
		}
		if locked[id] != nil {
			q.ids = append(q.ids, id)
		}
	}
	if len(in.SnapshotIds) > 0 && len(q.ids) == 0 {
		return &ec2.DescribeLockedSnapshotsOutput{}, nil
	}
	found, next, err := describe(c, kindSnapshot, locked, q, func(snap *snapshot, name string) ([]string, bool) {
		return one(string(snap.Lock.state(c.Now))), name == "lock-state"
	})
	if err != nil {
		return nil, err
	}
	return &ec2.DescribeLockedSnapshotsOutput{Snapshots: each(found, c.showLock), NextToken: next}, nil
}
