package cleanroom

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"regexp"
	"slices"
	"strings"

	"github.com/cordon-ir/cordon/internal/evidence"
)

// toolkits is under what keys of the evidence store the toolkits lie, each under the
// SHA-256 of its manifest: toolkits/DIGEST/manifest.json and toolkits/DIGEST/files/PATH.
const toolkits = "toolkits"

// ToolkitSchema names the format of a toolkit's manifest (docs/clean-room.md).
const ToolkitSchema = "cordon.toolkit/1"

// maxManifest bounds what is read as a manifest, in bytes: that of a hundred thousand files.
const maxManifest = 32 << 20

// Toolkit is the manifest of a bundle of tools. Whoever has its digest has those of all files.
type Toolkit struct {
	Schema string     `json:"schema"`
	Tools  []Tool     `json:"tools"`
	Files  []ToolFile `json:"files"` // by path
}

// Tool is one of the bundle: a folder of it that is called NAME-VERSION.
type Tool struct {
	Name    string `json:"name"`
	Version string `json:"version"`
}

func (t Tool) String() string { return t.Name + " " + t.Version }

// ToolFile is a file of the bundle.
type ToolFile struct {
	Path       string `json:"path"`
	SHA256     string `json:"sha256"` // hexadecimal
	Bytes      int64  `json:"bytes"`
	Executable bool   `json:"executable,omitempty"`
	// Tool and Version are of the tool that it belongs to; empty for install.sh.
	Tool    string `json:"tool,omitempty"`
	Version string `json:"version,omitempty"`
}

// installer is the only file of a bundle outside of the tools' folders: what puts them in place.
const installer = "install.sh"

var (
	toolFolder = regexp.MustCompile(`^([A-Za-z0-9_+.-]*[A-Za-z0-9_+])-(v?[0-9][A-Za-z0-9._+~-]*)$`)
	// toolPath is what examiner.sh takes for a path.
	toolPath = regexp.MustCompile(`^[A-Za-z0-9._+@~=,-]+(/[A-Za-z0-9._+@~=,-]+)*$`)
)

// ReadToolkit makes the manifest of a folder. Several problems are reported together.
func ReadToolkit(dir fs.FS) (Toolkit, error) {
	t := Toolkit{Schema: ToolkitSchema}
	var problems []error
	err := fs.WalkDir(dir, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		f, err := toolFile(dir, path, d)
		if err != nil {
			problems = append(problems, err)
			return nil
		}
		t.Files = append(t.Files, f)
		if tool := (Tool{f.Tool, f.Version}); f.Tool != "" && !slices.Contains(t.Tools, tool) {
			t.Tools = append(t.Tools, tool)
		}
		return nil
	})
	if err != nil {
		return Toolkit{}, err
	}
	if len(t.Tools) == 0 {
		problems = append(problems, errors.New("no tool: each is a folder called NAME-VERSION"))
	}
	return t, errors.Join(problems...)
}

func toolFile(dir fs.FS, path string, d fs.DirEntry) (ToolFile, error) {
	f := ToolFile{Path: path}
	folder, _, inside := strings.Cut(path, "/")
	m := toolFolder.FindStringSubmatch(folder)
	switch {
	case inside && m != nil:
		f.Tool, f.Version = m[1], m[2]
	case path != installer:
		return f, fmt.Errorf("%s: it is in no folder called NAME-VERSION, and is not %s", path, installer)
	}
	info, err := d.Info()
	if err != nil {
		return f, err
	}
	if !info.Mode().IsRegular() {
		return f, fmt.Errorf("%s: it is no regular file: a link's target would have no digest", path)
	}
	if !toolPath.MatchString(path) {
		return f, fmt.Errorf("%s: a path has letters, digits and . _ + @ ~ = , - only", path)
	}
	f.Executable = info.Mode()&0o111 != 0
	r, err := dir.Open(path)
	if err != nil {
		return f, err
	}
	defer r.Close()
	sum := sha256.New()
	if f.Bytes, err = io.Copy(sum, r); err != nil {
		return f, fmt.Errorf("%s: %w", path, err)
	}
	f.SHA256 = hex.EncodeToString(sum.Sum(nil))
	return f, nil
}

// Encode is the manifest's text and its digest, by which a launch names the toolkit.
func (t Toolkit) Encode() (text []byte, digest string, err error) {
	text, err = json.MarshalIndent(t, "", " ")
	if err != nil {
		return nil, "", err
	}
	text = append(text, '\n')
	sum := sha256.Sum256(text)
	return text, hex.EncodeToString(sum[:]), nil
}

func toolkitKey(digest, name string) string { return toolkits + "/" + digest + "/" + name }

// PutToolkit stores the files of a folder and, last, their manifest, whose
// digest it returns. What is there already is not stored again. done is called after each file.
func PutToolkit(ctx context.Context, store evidence.Store, dir fs.FS, t Toolkit, allowUnlocked bool, done func(ToolFile)) (digest string, err error) {
	text, digest, err := t.Encode()
	if err != nil {
		return "", err
	}
	for _, f := range t.Files {
		if err := putFile(ctx, store, dir, f, toolkitKey(digest, "files/"+f.Path), allowUnlocked); err != nil {
			return "", fmt.Errorf("%s: %w", f.Path, err)
		}
		done(f)
	}
	_, err = store.Put(ctx, toolkitKey(digest, "manifest.json"), bytes.NewReader(text), evidence.PutOptions{
		ContentType: "application/json", SHA256: digest, AllowUnlocked: allowUnlocked,
	})
	return digest, err
}

func putFile(ctx context.Context, store evidence.Store, dir fs.FS, f ToolFile, key string, allowUnlocked bool) error {
	r, err := dir.Open(f.Path)
	if err != nil {
		return err
	}
	defer r.Close()
	_, err = store.Put(ctx, key, r, evidence.PutOptions{ContentType: "application/octet-stream", SHA256: f.SHA256, AllowUnlocked: allowUnlocked})
	return err
}

// storedToolkit reads the manifest of a toolkit in a store, which must have its digest.
func storedToolkit(ctx context.Context, store evidence.Store, digest string) (t Toolkit, err error) {
	body, err := store.Get(ctx, toolkitKey(digest, "manifest.json"), "")
	if err != nil {
		return t, fmt.Errorf("toolkit %s: %w", digest, err)
	}
	defer body.Close()
	text, err := io.ReadAll(io.LimitReader(body, maxManifest))
	if err != nil {
		return t, fmt.Errorf("toolkit %s: %w", digest, err)
	}
	if sum := sha256.Sum256(text); hex.EncodeToString(sum[:]) != digest {
		return t, fmt.Errorf("toolkit %s: %w: its manifest has SHA-256 %x", digest, evidence.ErrDigest, sum)
	}
	if err := json.Unmarshal(text, &t); err != nil {
		return t, fmt.Errorf("toolkit %s: %w", digest, err)
	}
	if t.Schema != ToolkitSchema {
		return t, fmt.Errorf("toolkit %s: schema %q; this version reads %s", digest, t.Schema, ToolkitSchema)
	}
	return t, nil
}
