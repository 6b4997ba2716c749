package capture

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// aHost has a tool, which writes the image and a line, and a directory for the image.
func aHost(t *testing.T, tool string) memoryInput {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("the script is for Linux")
	}
	dir := t.TempDir()
	in := memoryInput{
		Tool: filepath.Join(dir, "tool"), Output: filepath.Join(dir, "image"), OnRoot: true, LimitMinutes: 1,
		ToolSHA256: fmt.Sprintf("%x", sha256.Sum256([]byte(tool))),
	}
	if err := os.WriteFile(in.Tool, []byte(tool), 0o700); err != nil {
		t.Fatal(err)
	}
	return in
}

// small is a host with 4 KiB of memory whose temporary directory counts as a
// volume, whatever the machine is that the test runs on.
var small = map[string]string{"tmpfs|ramfs)": "none)"}

// onHost runs the script in a real shell, on a small host.
func onHost(t *testing.T, in memoryInput) answer {
	t.Helper()
	return onHostWith(t, in, 4, small)
}

// onHostWith runs it on a host with so much memory, with texts of the script replaced.
func onHostWith(t *testing.T, in memoryInput, kib int64, replace map[string]string) answer {
	t.Helper()
	info := filepath.Join(t.TempDir(), "meminfo")
	if err := os.WriteFile(info, fmt.Appendf(nil, "MemTotal:       %d kB\n", kib), 0o600); err != nil {
		t.Fatal(err)
	}
	script := in.script()
	for old, with := range merged(replace, map[string]string{"/proc/meminfo": info}) {
		if strings.Count(script, old) != 1 {
			t.Fatalf("the script has %q %d times", old, strings.Count(script, old))
		}
		script = strings.Replace(script, old, with, 1)
	}
	var out, said bytes.Buffer
	cmd := exec.CommandContext(t.Context(), "sh", "-c", script)
	cmd.Stdout, cmd.Stderr = &out, &said
	err := cmd.Run()
	a, bad := readAnswer(out.String())
	if bad != nil {
		t.Fatalf("%v\n%s", bad, said.String())
	}
	if (err == nil) != (a.State == "done") {
		t.Errorf("state %s, and the shell ended with %v", a.State, err)
	}
	return a
}

func merged(a, b map[string]string) map[string]string {
	all := maps.Clone(a)
	maps.Copy(all, b)
	return all
}

const writesAnImage = "#!/bin/sh\necho acquired\nprintf memory > \"$1\"\n"

func TestTheScriptRunsTheToolAndHashesItsImage(t *testing.T) {
	in := aHost(t, writesAnImage)
	a := onHost(t, in)
	if want := fmt.Sprintf("%x", sha256.Sum256([]byte("memory"))); a.State != "done" || a.SHA256 != want || a.Bytes != 6 || a.ToolSHA256 != in.ToolSHA256 || a.Begun == "" {
		t.Errorf("got %+v", a)
	}
	if info, err := os.Stat(in.Output); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the image: %v, %v", info, err)
	}
	if again := onHost(t, in); again.Reason != "exists" {
		t.Errorf("again: %+v", again)
	}
}

func TestTheScriptTellsOfAToolThatFails(t *testing.T) {
	in := aHost(t, "#!/bin/sh\nprintf part > \"$1\"\nexit 7\n")
	if a := onHost(t, in); a.State != "failed" || a.Code != 7 || a.Bytes != 4 || a.SHA256 != "" {
		t.Errorf("got %+v", a)
	}
}

func TestTheScriptEndsAToolThatTakesTooLong(t *testing.T) {
	in := aHost(t, "#!/bin/sh\nexec sleep 60\n")
	a := onHostWith(t, in, 4, merged(small, map[string]string{"limit=45\n": "limit=1\n"}))
	if a.State != "failed" || a.Code != 124 {
		t.Errorf("got %+v", a)
	}
}

func TestTheScriptRefusesBeforeItRunsAnything(t *testing.T) {
	for name, c := range map[string]struct {
		change func(t *testing.T, in *memoryInput)
		reason string
	}{
		"another kernel":      {func(_ *testing.T, in *memoryInput) { in.Kernel = "0.0.1" }, "kernel"},
		"no tool":             {func(_ *testing.T, in *memoryInput) { in.Tool += "-not-there" }, "tool"},
		"a directory as tool": {func(_ *testing.T, in *memoryInput) { in.Tool = filepath.Dir(in.Tool) }, "tool"},
		"another tool":        {func(_ *testing.T, in *memoryInput) { in.ToolSHA256 = strings.Repeat("0", 64) }, "digest"},
		"no directory":        {func(_ *testing.T, in *memoryInput) { in.Output += "/image" }, "directory"},
		"the root":            {func(_ *testing.T, in *memoryInput) { in.Output = "/image"; in.OnRoot = false }, "root"},
		"a dangling link": {func(t *testing.T, in *memoryInput) {
			if err := os.Symlink("nowhere", in.Output); err != nil {
				t.Fatal(err)
			}
		}, "exists"},
	} {
		t.Run(name, func(t *testing.T) {
			ran := filepath.Join(t.TempDir(), "ran")
			in := aHost(t, "#!/bin/sh\ntouch "+ran+"\n")
			c.change(t, &in)
			if a := onHost(t, in); a.State != "refused" || a.Reason != c.reason {
				t.Errorf("got %+v", a)
			}
			if _, err := os.Stat(ran); err == nil {
				t.Error("the tool was run")
			}
		})
	}
}

func TestTheScriptRefusesAVolumeThatCantHoldTheMemory(t *testing.T) {
	in := aHost(t, writesAnImage)
	if a := onHostWith(t, in, 1<<50, small); a.State != "refused" || a.Reason != "space" {
		t.Errorf("too little space: %+v", a)
	}
	if a := onHostWith(t, in, 4, map[string]string{"tmpfs|ramfs)": "*)"}); a.State != "refused" || a.Reason != "volatile" {
		t.Errorf("a directory in memory: %+v", a)
	}
}
