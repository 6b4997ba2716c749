package incident_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strconv"
	"testing"

	"github.com/cordon-ir/cordon/internal/incident"
)

func TestEveryEntryTypeIsListed(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "entry.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var declared []incident.EntryType
	ast.Inspect(file, func(n ast.Node) bool {
		v, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		if of, ok := v.Type.(*ast.Ident); ok && of.Name == "EntryType" {
			text, err := strconv.Unquote(v.Values[0].(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			declared = append(declared, incident.EntryType(text))
		}
		return true
	})
	if listed := incident.EntryTypes(); !slices.Equal(listed, declared) {
		t.Errorf("listed are %v, declared %v", listed, declared)
	}
}
