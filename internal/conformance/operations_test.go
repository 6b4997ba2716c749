package conformance

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const sdk = "github.com/aws/aws-sdk-go-v2/service/"

// called are the operations that the product's code has inputs for, by service
// and name as the journal has them, each with a file that does. The simulated account is no client of AWS.
func called(t *testing.T, folder string) map[string]string {
	t.Helper()
	all := make(map[string]string)
	root := os.DirFS("../..")
	err := fs.WalkDir(root, folder, func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (name == "internal/rehearsal" || d.Name() == "testdata" || strings.HasPrefix(d.Name(), ".") && name != "."):
			return fs.SkipDir
		case d.IsDir() || !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go"):
			return nil
		}
		source, err := fs.ReadFile(root, name)
		if err != nil {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, source, 0)
		if err != nil {
			return err
		}
		for _, operation := range inputs(file) {
			all[operation] = name
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// inputs are the operations whose inputs a file makes: &ec2.LockSnapshotInput{}.
func inputs(file *ast.File) []string {
	services := make(map[string]string) // by the name that the file gives the package
	for _, i := range file.Imports {
		path, _ := strconv.Unquote(i.Path.Value)
		service, ok := strings.CutPrefix(path, sdk)
		if !ok || strings.Contains(service, "/") {
			continue
		}
		name := service
		if i.Name != nil {
			name = i.Name.Name
		}
		services[name] = strings.TrimSuffix(service, "v2") // the two Elastic Load Balancing APIs
		switch service {
		case "cloudwatchlogs":
			services[name] = "logs"
		case "vpclattice":
			services[name] = "vpc-lattice"
		}
	}
	var all []string
	ast.Inspect(file, func(n ast.Node) bool {
		literal, ok := n.(*ast.CompositeLit)
		if !ok {
			return true
		}
		selector, ok := literal.Type.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		from, ok := selector.X.(*ast.Ident)
		operation, isInput := strings.CutSuffix(selector.Sel.Name, "Input")
		if ok && isInput && services[from.Name] != "" {
			all = append(all, services[from.Name]+":"+operation)
		}
		return true
	})
	return all
}

// covers fails where the product calls an operation of which nothing was checked.
func (n tally) covers(t *testing.T, called map[string]string) {
	t.Helper()
	if len(called) == 0 {
		t.Error("no operation that the product calls was found")
	}
	for operation, file := range called {
		if n.operations[operation] == 0 {
			t.Errorf("%s calls %s, of which no request is checked: toRehearse needs a run that sends it", file, operation)
		}
	}
}

func TestTheOperationsThatAFileCallsAreFound(t *testing.T) {
	const source = `package p
import (
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	"example.org/other"
)
var a, b = &ec2.LockSnapshotInput{}, []any{elb.RegisterTargetsInput{Targets: nil}, &types.Tag{}, &other.SomeInput{}}
`
	file, err := parser.ParseFile(token.NewFileSet(), "p.go", source, 0)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"ec2:LockSnapshot", "elasticloadbalancing:RegisterTargets"}
	if got := inputs(file); !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// authorizes are the IAM actions that are named otherwise than the operation
// that they allow ("Service Authorization Reference", Amazon S3, IAM and AWS KMS).
var authorizes = map[string]string{
	"logs:CreateLogDelivery":              "", // these four are asked of whoever has another service write logs
	"logs:DeleteLogDelivery":              "",
	"logs:GetLogDelivery":                 "",
	"logs:ListLogDeliveries":              "",
	"s3:GetEncryptionConfiguration":       "GetBucketEncryption",
	"iam:PassRole":                        "", // none of its own: asked for where a role is handed on
	"tiros:CreateQuery":                   "", // these three are asked of whoever starts an analysis
	"tiros:GetQueryAnswer":                "",
	"tiros:GetQueryExplanation":           "",
	"kms:ReEncryptFrom":                   "ReEncrypt", // of the key that it is taken from, and of the one that it goes to
	"kms:ReEncryptTo":                     "ReEncrypt",
	"s3:GetBucketObjectLockConfiguration": "GetObjectLockConfiguration",
	"s3:GetBucketPublicAccessBlock":       "GetPublicAccessBlock",
	"s3:GetObjectVersion":                 "GetObject", // with a version
	"s3:ListBucket":                       "ListObjectsV2",
	"s3:ListBucketMultipartUploads":       "ListMultipartUploads",
	"s3:ListBucketVersions":               "ListObjectVersions",
	"s3:ListMultipartUploadParts":         "ListParts",
}

func TestEveryPermissionThatAnActionNamesAllowsAnOperation(t *testing.T) {
	used := make(map[string]bool)
	for name, spec := range specs() {
		for _, permission := range spec.Permissions {
			service, operation, _ := strings.Cut(permission, ":")
			if other, ok := authorizes[permission]; ok {
				operation, used[permission] = other, true
			}
			if operation != "" && !hasOperation(mustModels(t), service, operation) {
				t.Errorf("%s: %s: no service model has the operation %s", name, permission, operation)
			}
		}
	}
	for permission := range authorizes {
		if !used[permission] {
			t.Errorf("no action names %s: take it out of the table", permission)
		}
	}
	if hasOperation(mustModels(t), "ec2", "DescribeInstance") || hasOperation(mustModels(t), "s3", "ListBucket") {
		t.Error("operations that do not exist are found")
	}
}

func hasOperation(all map[string]*model, service, operation string) bool {
	for _, folder := range foldersOf(service) {
		if m, ok := all[folder]; ok {
			if _, ok := m.Operations[operation]; ok {
				return true
			}
		}
	}
	return false
}
