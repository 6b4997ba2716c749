package cleanroom

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	logtypes "github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs/types"

	"github.com/cordon-ir/cordon/internal/evidence"
	"github.com/cordon-ir/cordon/internal/incident"
)

// takeFindings makes evidence of what a room leaves behind: what its examiners wrote, every
// version of it, the logs of their sessions, and the room's log groups. Each is copied to a key under
// retention, read back, journaled and acquired into custody. What an earlier try has taken stays as it is.
func (c Closure) takeFindings(ctx context.Context, room incident.CleanRoom, groups []string) ([]string, error) {
	var taken []string
	take := func(p piece) error {
		p.room = room
		err := c.take(ctx, p)
		if err == nil {
			taken = append(taken, p.id)
		}
		return err
	}
	for prefix, kind := range map[string]evidence.Kind{Findings(c.Case, room.Name): evidence.KindFinding, Sessions(c.Case, room.Name): evidence.KindLog} {
		versions, err := c.Store.Versions(ctx, prefix)
		if err != nil {
			return taken, fmt.Errorf("what the examiners left under %s: %w", prefix, err)
		}
		for _, v := range versions {
			if v.DeleteMarker {
				continue
			}
			if err := take(c.written(ctx, v, kind, strings.TrimPrefix(v.Key, path.Dir(strings.TrimSuffix(prefix, "/"))+"/"))); err != nil {
				return taken, err
			}
		}
	}
	for _, group := range groups {
		p, err := c.log(ctx, group)
		if err != nil {
			return taken, err
		}
		if p.open == nil {
			continue
		}
		if err := take(p); err != nil {
			return taken, err
		}
	}
	slices.Sort(taken)
	return taken, nil
}

// piece is one thing to take.
type piece struct {
	id, ext, contentType, source string
	kind                         evidence.Kind
	room                         incident.CleanRoom
	notes                        []string
	open                         func() (io.ReadCloser, error)
}

// written is a version of an object that a room has written.
func (c Closure) written(ctx context.Context, v evidence.Version, kind evidence.Kind, name string) piece {
	sum := sha256.Sum256([]byte(v.Key + "\x00" + v.Version))
	p := piece{
		id: fmt.Sprintf("%s-%x", kind, sum[:6]), ext: path.Ext(v.Key), contentType: "application/octet-stream", source: name, kind: kind,
		notes: []string{fmt.Sprintf("%s, stored %s", v.Location, v.Stored.UTC().Format("2006-01-02T15:04:05Z"))},
		open:  func() (io.ReadCloser, error) { return c.Store.Get(ctx, v.Key, v.Version) },
	}
	if !v.Newest {
		p.notes = append(p.notes, "another version, or a delete marker, was put over it")
	}
	return p
}

// take stores a piece, unless an earlier try has, and records it.
func (c Closure) take(ctx context.Context, p piece) error {
	it, known := c.Custody.Item(p.id)
	if !known {
		obj, err := c.put(ctx, p)
		if err != nil {
			return fmt.Errorf("%s: %w", p.source, err)
		}
		it = evidence.Item{
			ID: p.id, Kind: p.kind, Source: "clean room " + p.room.Name + ": " + p.source, Key: obj.Key, Location: obj.Location, Version: obj.Version, SHA256: obj.SHA256, Bytes: obj.Bytes,
			Mode: obj.Mode, RetainUntil: obj.RetainUntil.UTC(), Acquired: c.Clock.Now().UTC(), Notes: p.notes,
		}
		if err := c.Record(ctx, incident.EntryEvidence, it); err != nil {
			return err
		}
	}
	if !slices.ContainsFunc(c.Custody.EventsOf(p.id), func(e evidence.Event) bool { return e.Event == evidence.EventAcquired }) {
		err := c.Record(ctx, incident.EntryCustody, evidence.CustodyEvent{Item: p.id, Event: evidence.EventAcquired, Reason: "clean room " + p.room.Name + " is closing", Detail: it.Location})
		if err != nil {
			return err
		}
	}
	return evidence.PutRecord(ctx, c.Store, evidence.Record{Case: c.Case.ID, Rehearsal: c.Case.Rehearsal, Run: p.room.Name, Target: p.room.Account + "/" + p.room.Region, Item: it})
}

// put streams a piece into the store. An object that a killed try has stored is taken as it is:
// a log has grown since.
func (c Closure) put(ctx context.Context, p piece) (evidence.Object, error) {
	key := evidence.Key(c.Case, p.room.Name, p.id+p.ext)
	obj, err := c.Store.Stat(ctx, key, "")
	if !errors.Is(err, evidence.ErrNotFound) {
		return obj, err
	}
	body, err := p.open()
	if err != nil {
		return obj, err
	}
	defer body.Close()
	return c.Store.Put(ctx, key, body, evidence.PutOptions{
		ContentType: p.contentType, AllowUnlocked: c.AllowUnlocked, Metadata: map[string]string{"case": c.Case.ID, "clean-room": p.room.Name},
	})
}

// log is a log group as one JSON object a line, the first of which says what it is. A group that
// is gone is left out: open is nil.
func (c Closure) log(ctx context.Context, group string) (piece, error) {
	logs := cloudwatchlogs.NewFromConfig(c.Config)
	until := c.Clock.Now().UTC()
	pages := cloudwatchlogs.NewFilterLogEventsPaginator(logs, &cloudwatchlogs.FilterLogEventsInput{LogGroupName: &group, EndTime: aws.Int64(until.UnixMilli())})
	first, err := pages.NextPage(ctx)
	var gone *logtypes.ResourceNotFoundException
	if errors.As(err, &gone) {
		return piece{}, nil
	}
	if err != nil {
		return piece{}, fmt.Errorf("log group %s: %w", group, err)
	}
	head, err := json.Marshal(map[string]any{"log_group": group, "region": c.Config.Region, "until": until})
	if err != nil {
		return piece{}, err
	}
	lines := &logLines{buf: *bytes.NewBuffer(append(head, '\n'))}
	lines.next = func() (bool, error) {
		page := first
		if first = nil; page == nil {
			if !pages.HasMorePages() {
				return false, nil
			}
			var err error
			if page, err = pages.NextPage(ctx); err != nil {
				return false, fmt.Errorf("log group %s: %w", group, err)
			}
		}
		return true, lines.add(page.Events)
	}
	return piece{
		id: "log-" + strings.Trim(strings.ReplaceAll(group, "/", "-"), "-"), ext: ".jsonl", contentType: "application/x-ndjson", source: "log group " + group, kind: evidence.KindLog,
		open: func() (io.ReadCloser, error) { return io.NopCloser(lines), nil },
	}, nil
}

// logLines reads a log group page by page, so that memory is bounded by one.
type logLines struct {
	buf  bytes.Buffer
	next func() (more bool, err error)
}

func (l *logLines) add(events []logtypes.FilteredLogEvent) error {
	for _, e := range events {
		line, err := json.Marshal(map[string]any{"stream": aws.ToString(e.LogStreamName), "time": aws.ToInt64(e.Timestamp), "message": aws.ToString(e.Message)})
		if err != nil {
			return err
		}
		l.buf.Write(append(line, '\n'))
	}
	return nil
}

func (l *logLines) Read(b []byte) (int, error) {
	for l.buf.Len() == 0 {
		more, err := l.next()
		if err != nil {
			return 0, err
		}
		if !more {
			return 0, io.EOF
		}
	}
	return l.buf.Read(b)
}
