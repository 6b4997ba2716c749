package rehearsal

import (
	"encoding/json"
	"regexp"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/ssm/types"
)

// document is the account's own; those of Amazon are not listed. It has one version.
type document struct {
	Name    string             `json:"name"`
	Type    types.DocumentType `json:"type"`
	Content string             `json:"content"`
	Created time.Time          `json:"created"`
}

var documentName = regexp.MustCompile(`^[a-zA-Z0-9_\-.]{3,128}$`)

// https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_CreateDocument.html: JSON only.
func ssmCreateDocument(c *call, in *ssm.CreateDocumentInput) (*ssm.CreateDocumentOutput, error) {
	name := aws.ToString(in.Name)
	var content struct {
		SchemaVersion string `json:"schemaVersion"`
	}
	switch err := json.Unmarshal([]byte(aws.ToString(in.Content)), &content); {
	case !documentName.MatchString(name):
		return nil, apiError("ValidationException", "1 validation error detected: Value '"+name+"' at 'name' failed to satisfy constraint")
	case c.SSM.Documents[name] != nil:
		return nil, &types.DocumentAlreadyExists{Message: aws.String("Document with same name " + name + " already exists")}
	case err != nil || content.SchemaVersion == "":
		return nil, &types.InvalidDocumentContent{Message: aws.String("The content of the document is not valid.")}
	}
	d := &document{Name: name, Type: in.DocumentType, Content: *in.Content, Created: c.Now}
	if d.Type == "" {
		d.Type = types.DocumentTypeCommand
	}
	put(&c.SSM.Documents, name, d)
	shown := c.showDocument(d)
	return &ssm.CreateDocumentOutput{DocumentDescription: &shown}, nil
}

func (c *call) showDocument(d *document) types.DocumentDescription {
	return types.DocumentDescription{
		Name: &d.Name, DocumentType: d.Type, DocumentFormat: types.DocumentFormatJson, DocumentVersion: aws.String("1"), DefaultVersion: aws.String("1"),
		LatestVersion: aws.String("1"), CreatedDate: &d.Created, Owner: &c.Account, Status: types.DocumentStatusActive,
	}
}

func (c *call) document(name *string) (*document, error) {
	if d := c.SSM.Documents[aws.ToString(name)]; d != nil && c.region == c.Region {
		return d, nil
	}
	return nil, &types.InvalidDocument{Message: aws.String("Document with name " + aws.ToString(name) + " does not exist.")}
}

// https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_DescribeDocument.html
func ssmDescribeDocument(c *call, in *ssm.DescribeDocumentInput) (*ssm.DescribeDocumentOutput, error) {
	d, err := c.document(in.Name)
	if err != nil {
		return nil, err
	}
	shown := c.showDocument(d)
	return &ssm.DescribeDocumentOutput{Document: &shown}, nil
}

// https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_GetDocument.html
func ssmGetDocument(c *call, in *ssm.GetDocumentInput) (*ssm.GetDocumentOutput, error) {
	d, err := c.document(in.Name)
	if err != nil {
		return nil, err
	}
	return &ssm.GetDocumentOutput{
		Name: &d.Name, Content: &d.Content, DocumentType: d.Type, DocumentFormat: types.DocumentFormatJson, DocumentVersion: aws.String("1"),
		CreatedDate: &d.Created, Status: types.DocumentStatusActive,
	}, nil
}

// https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_DeleteDocument.html
func ssmDeleteDocument(c *call, in *ssm.DeleteDocumentInput) (*ssm.DeleteDocumentOutput, error) {
	d, err := c.document(in.Name)
	if err != nil {
		return nil, err
	}
	delete(c.SSM.Documents, d.Name)
	return &ssm.DeleteDocumentOutput{}, nil
}
