package access

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/middleware"
)

// shares let reads that ask the same share one call, as long as it waits for
// its turn, and put reads about single instances into one. The call is sent
// after all of them asked, so none of them learns anything older than it would
// have by itself. Where no call has to wait, none is shared. Steps of many
// targets ask for the same groups, roles and load balancers over and over, and
// AWS counts each call.
type shares struct {
	mu      sync.Mutex
	waiting map[string]*shared
}

// shared is one call, and its answer once done is closed.
type shared struct {
	done chan struct{}
	ids  []string // asked about, in a batch; nobody adds to them once it is sent
	out  middleware.InitializeOutput
	meta middleware.Metadata
	err  error
	// givenUp: its caller was interrupted, so whoever joined asks again.
	givenUp bool
}

func newShares() *shares { return &shares{waiting: make(map[string]*shared)} }

// sharedServices answer with plain data, and AWS counts their calls tightly.
var sharedServices = map[string]bool{
	"EC2": true, "Auto Scaling": true, "Elastic Load Balancing": true, "Elastic Load Balancing v2": true, "IAM": true,
}

// keyOf is the same for reads that can share a call.
func keyOf(t turnOf, input any) string {
	b, err := json.Marshal(input)
	if err != nil {
		panic(fmt.Sprintf("an input of plain data does not marshal: %v", err))
	}
	return fmt.Sprintf("%s\x00%s\x00%s\x00%s\x00%t\x00%s", t.account, t.region, t.call.Service, t.call.Operation, t.call.Narrowed, b)
}

// join gives the call to wait for, where one waits still and has room for the
// IDs; otherwise a new one, which the caller is to make.
func (s *shares) join(key string, ids []string) (c *shared, mine bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.waiting[key]; c != nil {
		if all := union(c.ids, ids); len(all) <= batched {
			c.ids = all
			return c, false
		}
	}
	c = &shared{done: make(chan struct{}), ids: union(ids, nil)}
	s.waiting[key] = c
	return c, true
}

// union is sorted and holds each ID once.
func union(a, b []string) []string {
	all := slices.Concat(a, b)
	slices.Sort(all)
	return slices.Compact(all)
}

// leave lets nobody join any more: the call is about to be sent, or given up.
func (s *shares) leave(key string, c *shared) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.waiting[key] == c {
		delete(s.waiting, key)
	}
}

// handler sends a call with this input.
type handler func(input any) (middleware.InitializeOutput, middleware.Metadata, error)

// read makes the call, or takes the answer of one that waits. Wait returns when
// it is the call's turn.
func (s *shares) read(ctx context.Context, t turnOf, input any, wait func() error, send handler) (
	middleware.InitializeOutput, middleware.Metadata, error,
) {
	about, inBatch := batch(input)
	key := keyOf(t, input)
	if inBatch {
		key = keyOf(t, about.rest)
	}
	for {
		c, mine := s.join(key, about.ids)
		if mine {
			s.make(ctx, key, c, about, input, wait, send)
		} else if err := c.wait(ctx); err != nil {
			return middleware.InitializeOutput{}, middleware.Metadata{}, err
		}
		switch {
		case !mine && c.givenUp:
			continue
		case !inBatch || len(c.ids) == len(about.ids):
			return middleware.InitializeOutput{Result: detached(c.out.Result)}, c.meta, c.err
		case c.err == nil:
			if part := about.part(detached(c.out.Result), about.ids); part != nil {
				return middleware.InitializeOutput{Result: part}, c.meta, nil
			}
		case ctx.Err() != nil:
			return c.out, c.meta, c.err
		}
		// One bad ID fails the whole batch: each asks by itself.
		if err := wait(); err != nil {
			return middleware.InitializeOutput{}, middleware.Metadata{}, err
		}
		return send(input)
	}
}

func (s *shares) make(ctx context.Context, key string, c *shared, about asked, input any, wait func() error, send handler) {
	defer close(c.done)
	c.err = wait()
	s.leave(key, c)
	if c.err == nil {
		if len(c.ids) > len(about.ids) {
			input = about.about(c.ids)
		}
		c.out, c.meta, c.err = send(input)
	}
	c.givenUp = c.err != nil && ctx.Err() != nil
}

func (c *shared) wait(ctx context.Context) error {
	select {
	case <-c.done:
		return nil
	case <-ctx.Done():
		return &smithy.CanceledError{Err: context.Cause(ctx)}
	}
}

// detached copies an answer: each reader may do with its own what it likes.
func detached(v any) any {
	if v == nil {
		return nil
	}
	return copied(reflect.ValueOf(v)).Interface()
}

func copied(v reflect.Value) reflect.Value {
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			return v
		}
		c := reflect.New(v.Type().Elem())
		c.Elem().Set(copied(v.Elem()))
		return c
	case reflect.Slice:
		if v.IsNil() {
			return v
		}
		c := reflect.MakeSlice(v.Type(), v.Len(), v.Len())
		for i := range v.Len() {
			c.Index(i).Set(copied(v.Index(i)))
		}
		return c
	case reflect.Map:
		if v.IsNil() {
			return v
		}
		c := reflect.MakeMapWithSize(v.Type(), v.Len())
		for k, e := range v.Seq2() {
			c.SetMapIndex(k, copied(e))
		}
		return c
	case reflect.Struct:
		c := reflect.New(v.Type()).Elem()
		c.Set(v)
		switch v.Interface().(type) {
		case time.Time, middleware.Metadata: // read-only
			return c
		}
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				c.Field(i).Set(copied(v.Field(i)))
			}
		}
		return c
	default:
		return v
	}
}
