package conformance

import (
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
)

// modelled are the services whose models are read, by their folder in botocore.
var modelled = []string{
	"autoscaling", "cloudformation", "cloudtrail", "ebs", "ec2", "elb", "elbv2", "iam", "kms", "logs", "route53profiles", "route53resolver", "s3", "ssm", "sts", "vpc-lattice",
}

// model is what AWS publishes of a service, and botocore ships: its operations
// and the shapes of what they take. Only what a request is checked by is read.
type model struct {
	Metadata struct {
		ServiceID string `json:"serviceId"`
	} `json:"metadata"`
	Operations map[string]struct {
		Input *reference `json:"input"`
	} `json:"operations"`
	Shapes map[string]*shape `json:"shapes"`
}

type reference struct {
	Shape string `json:"shape"`
}

// shape is a type. Min and Max are characters of a string, items of a list or
// a map, bytes of a blob, or a number's own bounds.
type shape struct {
	Type     string               `json:"type"`
	Members  map[string]reference `json:"members"`
	Required []string             `json:"required"`
	Union    bool                 `json:"union"`
	Member   reference            `json:"member"`
	Key      reference            `json:"key"`
	Value    reference            `json:"value"`
	Enum     []string             `json:"enum"`
	Min      *float64             `json:"min"`
	Max      *float64             `json:"max"`
	Pattern  string               `json:"pattern"`

	byGoName map[string]string // of Members
	pattern  *regexp.Regexp    // nil: none, or one that Go can't compile
}

// models reads them all, once for the whole suite.
var models = sync.OnceValues(func() (map[string]*model, error) {
	all := make(map[string]*model)
	for _, service := range modelled {
		m, err := loadModel(service)
		if err != nil {
			return nil, fmt.Errorf("the model of %s: %w", service, err)
		}
		all[service] = m
	}
	return all, nil
})

func mustModels(t *testing.T) map[string]*model {
	t.Helper()
	all, err := models()
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// loadModel reads a service's newest model. Its folders are named by date.
func loadModel(service string) (*model, error) {
	versions, err := filepath.Glob(filepath.Join(venv, "lib", "python*", "site-packages", "botocore", "data", service, "*", "service-2.json*"))
	if err != nil {
		return nil, err
	}
	if len(versions) == 0 {
		return nil, errors.New("botocore has none")
	}
	file, err := os.Open(versions[len(versions)-1]) // Glob sorts
	if err != nil {
		return nil, err
	}
	defer file.Close()
	text := io.Reader(file)
	if strings.HasSuffix(file.Name(), ".gz") {
		if text, err = gzip.NewReader(file); err != nil {
			return nil, err
		}
	}
	var m model
	if err := json.NewDecoder(text).Decode(&m); err != nil {
		return nil, err
	}
	return &m, m.prepare()
}

// prepare maps the members' names and compiles the patterns.
func (m *model) prepare() error {
	for name, s := range m.Shapes {
		s.byGoName = make(map[string]string, len(s.Members))
		for member := range s.Members {
			goName := goName(member)
			if other, taken := s.byGoName[goName]; taken {
				return fmt.Errorf("%s: members %s and %s have the same name in Go", name, member, other)
			}
			s.byGoName[goName] = member
		}
		if s.Pattern != "" {
			s.pattern, _ = compilePattern(s.Pattern)
		}
	}
	return nil
}

// goName is the SDK for Go's name of a member: its first letter is made a
// capital (smithy-go, codegen/SymbolVisitor), as the journal has it.
func goName(member string) string {
	return strings.ToUpper(member[:1]) + member[1:]
}

func TestTheNewestModelOfEachServiceIsRead(t *testing.T) {
	for service, m := range mustModels(t) {
		if len(m.Operations) < 6 || len(m.Shapes) < len(m.Operations) || m.Metadata.ServiceID == "" {
			t.Errorf("%s: %d operations, %d shapes, service ID %q", service, len(m.Operations), len(m.Shapes), m.Metadata.ServiceID)
		}
	}
	// The newest of EC2's eight: it has what the oldest did not.
	if _, ok := mustModels(t)["ec2"].Operations["LockSnapshot"]; !ok {
		t.Error("ec2: not the newest model")
	}
}
