package cleanroom

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/cordon-ir/cordon/internal/vault"
)

// laptop stands for an examination instance: a root with a sysfs of its own, and
// fakes of the commands that reach a device or AWS.
type laptop struct {
	t                 *testing.T
	root, bin, bucket string
	script            string
}

// fakes: every call that changes something is a line in the file calls. What a
// disk is called, and whether it is read-only, are files.
var fakes = map[string]string{
	"findmnt":   `echo /dev/nvme0n1p1`,
	"blockdev":  `if [ "$1" = --getro ]; then [ -e "$ROOT/ro${2#/dev}" ] && echo 1 || echo 0; else echo "blockdev $*" >>"$ROOT/calls"; mkdir -p "$ROOT/ro"; : >"$ROOT/ro${2#/dev}"; fi`,
	"systemctl": `echo "systemctl $*" >>"$ROOT/calls"`,
	"udevadm":   `echo "udevadm $*" >>"$ROOT/calls"`,
	"mount":     `echo "mount $*" >>"$ROOT/calls"`,
	"lsblk":     `disk=${5#/dev/}; ls "$ROOT/sys/class/block" | grep "^$disk"`,
	"blkid":     `cat "$ROOT/type/${6#/dev/}" 2>/dev/null`,
	"curl":      `for u; do :; done; case $u in */api/token) echo secret ;; *cordon:evidence:vol-0a) echo disk-image-snap-0a ;; *) exit 22 ;; esac`,
	// aws s3 cp [options] FROM TO
	"aws": `from= to=; for a; do from=$to; to=$a; done; echo "aws $*" >>"$ROOT/calls"; case $from in s3://bucket/*) cp "$BUCKET_DIR/${from#s3://bucket/}" "$to" ;; *) mkdir -p "$BUCKET_DIR/$(dirname "${to#s3://bucket/}")"; cp "$from" "$BUCKET_DIR/${to#s3://bucket/}" ;; esac`,
}

func newLaptop(t *testing.T, toolkit string) *laptop {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("the script is for Linux")
	}
	dir := t.TempDir()
	l := &laptop{t: t, root: filepath.Join(dir, "root"), bin: filepath.Join(dir, "bin"), bucket: filepath.Join(dir, "bucket"), script: filepath.Join(dir, "part-001")}
	for name, text := range fakes {
		l.write(filepath.Join(l.bin, name), "#!/bin/sh\n"+text+"\n", 0o700)
	}
	head := "#!/bin/bash\nBUCKET='bucket' REGION='eu-central-1' CASE='cases/INC-1/' ROOM='rooms/INC-1/room/' TOOLKITS='toolkits/' TOOLKIT='" + toolkit + "'\n"
	l.write(l.script, head+bare(examiner), 0o700)
	l.disk("nvme0n1", "vol0root", "", "nvme0n1p1")
	l.disk("nvme1n1", "vol0a ", "", "nvme1n1p1")
	l.disk("nvme2n1", "vol0b", "")
	l.disk("nvme3n1", "AWS1", "Amazon EC2 NVMe Instance Storage")
	l.disk("loop0", "", "")
	return l
}

func (l *laptop) write(path, text string, mode fs.FileMode) {
	l.t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		l.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		l.t.Fatal(err)
	}
}

// disk makes a disk's sysfs, with its partitions.
func (l *laptop) disk(name, serial, model string, partitions ...string) {
	l.t.Helper()
	at := filepath.Join(l.root, "sys/devices", name)
	l.write(filepath.Join(at, "size"), "1", 0o600)
	if serial != "" {
		l.write(filepath.Join(at, "device/serial"), serial+"\n", 0o600)
		l.write(filepath.Join(at, "device/model"), model+"\n", 0o600)
	}
	l.link(at, name)
	for _, p := range partitions {
		l.write(filepath.Join(at, p, "partition"), "1", 0o600)
		l.link(filepath.Join(at, p), p)
	}
}

func (l *laptop) link(to, name string) {
	l.t.Helper()
	if err := os.MkdirAll(filepath.Join(l.root, "sys/class/block"), 0o700); err != nil {
		l.t.Fatal(err)
	}
	if err := os.Symlink(to, filepath.Join(l.root, "sys/class/block", name)); err != nil {
		l.t.Fatal(err)
	}
}

// run runs the script as cloud-init, udev or an examiner does.
func (l *laptop) run(args ...string) (said string, err error) {
	l.t.Helper()
	cmd := exec.CommandContext(l.t.Context(), "bash", append([]string{l.script}, args...)...)
	cmd.Env = []string{"ROOT=" + l.root, "BUCKET_DIR=" + l.bucket, "PAUSE=0", "PATH=" + l.bin + ":" + os.Getenv("PATH")}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err = cmd.Run()
	return out.String(), err
}

func (l *laptop) read(path string) string {
	l.t.Helper()
	b, err := os.ReadFile(filepath.Join(l.root, path))
	if err != nil {
		l.t.Fatal(err)
	}
	return string(b)
}

func (l *laptop) there(path string) bool {
	_, err := os.Stat(filepath.Join(l.root, path))
	return err == nil
}

func TestEvidenceIsReadOnlyBeforeAnythingSeesIt(t *testing.T) {
	l := newLaptop(t, "")
	if said, err := l.run(); err != nil {
		t.Fatalf("%v: %s", err, said)
	}
	calls := l.read("calls")
	for _, disk := range []string{"nvme1n1", "nvme2n1"} {
		if !strings.Contains(calls, "blockdev --setro /dev/"+disk+"\n") {
			t.Errorf("%s is writable: %s", disk, calls)
		}
	}
	for _, own := range []string{"nvme0n1", "nvme3n1", "loop0"} {
		if strings.Contains(calls, own) {
			t.Errorf("%s was touched: %s", own, calls)
		}
	}
	if !strings.Contains(calls, "mask --now udisks2.service autofs.service") || !strings.Contains(calls, "udevadm control --reload") {
		t.Errorf("calls %s", calls)
	}
	rule := l.read("etc/udev/rules.d/00-evidence.rules")
	if !strings.Contains(rule, `PROGRAM="/usr/bin/evidence readonly %k"`) || !l.there("usr/bin/evidence") {
		t.Errorf("the rule: %s", rule)
	}
	// What is attached later comes by the rule, partitions too; the root disk's own do as well.
	for device, want := range map[string]bool{"nvme1n1p1": true, "nvme0n1p1": false, "nvme0n1": false} {
		if said, err := l.run("readonly", device); err != nil {
			t.Fatalf("%v: %s", err, said)
		}
		if got := strings.Contains(l.read("calls"), "--setro /dev/"+device+"\n"); got != want {
			t.Errorf("%s set read-only: %t", device, got)
		}
	}
}

func TestAnItemIsFoundByItsName(t *testing.T) {
	l := newLaptop(t, "")
	if said, err := l.run(); err != nil {
		t.Fatalf("%v: %s", err, said)
	}
	said, err := l.run("list")
	if want := "/dev/nvme1n1 vol-0a disk-image-snap-0a read-only\n/dev/nvme2n1 vol-0b - read-only\n"; err != nil || said != want {
		t.Errorf("%v: %q, want %q", err, said, want)
	}
}

func TestAMountWritesNothing(t *testing.T) {
	for kind, want := range map[string]string{
		"ext4": "ro,noload,nodev,nosuid,noexec", "ext3": "ro,noload,nodev,nosuid,noexec", "xfs": "ro,norecovery,nouuid,nodev,nosuid,noexec",
		"btrfs": "ro,rescue=nologreplay,nodev,nosuid,noexec", "ntfs": "ro,nodev,nosuid,noexec", "vfat": "ro,nodev,nosuid,noexec",
	} {
		t.Run(kind, func(t *testing.T) {
			l := newLaptop(t, "")
			l.write(filepath.Join(l.root, "type/nvme1n1p1"), kind+"\n", 0o600)
			if said, err := l.run("mount", "disk-image-snap-0a"); err == nil || !strings.Contains(said, "refused: /dev/nvme1n1p1 is writable") {
				t.Errorf("mounted while it is writable: %s", said)
			}
			for _, device := range []string{"nvme1n1", "nvme1n1p1"} {
				if said, err := l.run("readonly", device); err != nil {
					t.Fatalf("%v: %s", err, said)
				}
			}
			said, err := l.run("mount", "disk-image-snap-0a")
			at := filepath.Join(l.root, "evidence/disk-image-snap-0a/nvme1n1p1")
			if err != nil || said != at+"\n" {
				t.Fatalf("%v: %s", err, said)
			}
			if line := "mount -t " + kind + " -o " + want + " /dev/nvme1n1p1 " + at + "\n"; !strings.Contains(l.read("calls"), line) {
				t.Errorf("calls %s, without %s", l.read("calls"), line)
			}
		})
	}
	l := newLaptop(t, "")
	if said, err := l.run("mount", "snapshot-snap-none"); err == nil || !strings.Contains(said, "no disk here is") {
		t.Errorf("%v: %s", err, said)
	}
}

// bundle is a folder of two tools.
var bundle = fstest.MapFS{
	"install.sh":                 {Data: []byte("echo installed >done\n"), Mode: 0o644},
	"sleuthkit-4.14.0/bin/fls":   {Data: []byte("#!/bin/sh\n"), Mode: 0o755},
	"yara-x-1.9.0/yr":            {Data: []byte("ELF"), Mode: 0o755},
	"yara-x-1.9.0/rules/all.yar": {Data: []byte("rule a {}"), Mode: 0o644},
}

// stored stores the bundle where the instance fetches it, and gives its digest.
func stored(t *testing.T, dir string) string {
	t.Helper()
	kit, err := ReadToolkit(bundle)
	if err != nil {
		t.Fatal(err)
	}
	digest, err := PutToolkit(t.Context(), vault.NewDirectory(dir), bundle, kit, true, func(ToolFile) {})
	if err != nil {
		t.Fatal(err)
	}
	return digest
}

func TestToolsAreCheckedBeforeAnExaminerSeesThem(t *testing.T) {
	kit, err := ReadToolkit(bundle)
	if err != nil {
		t.Fatal(err)
	}
	_, digest, err := kit.Encode()
	if err != nil {
		t.Fatal(err)
	}
	fls := "toolkits/" + digest + "/files/sleuthkit-4.14.0/bin/fls"
	manifest := "toolkits/" + digest + "/manifest.json"
	alter := func(path string) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			f, err := os.OpenFile(filepath.Join(dir, path), os.O_APPEND|os.O_WRONLY, 0)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := f.WriteString("\n"); err != nil {
				t.Fatal(err)
			}
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
	remove := func(path string) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			if err := os.Remove(filepath.Join(dir, path)); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, test := range map[string]struct {
		damage func(*testing.T, string)
		says   string // empty: the tools are there
	}{
		"as it was stored":    {func(*testing.T, string) {}, ""},
		"an altered tool":     {alter(fls), "toolkit REFUSED: sleuthkit-4.14.0/bin/fls has not the digest"},
		"an altered manifest": {alter(manifest), "toolkit REFUSED: its manifest has not the digest"},
		"a tool is gone":      {remove(fls), "toolkit REFUSED: sleuthkit-4.14.0/bin/fls can't be fetched"},
		"no manifest":         {remove(manifest), "can't be fetched"},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLaptop(t, digest)
			if got := stored(t, l.bucket); got != digest {
				t.Fatalf("the digest is %s, then %s", digest, got)
			}
			// A store keeps what it has from being written to: here it is a directory.
			if err := exec.CommandContext(t.Context(), "chmod", "-R", "u+w", l.bucket).Run(); err != nil {
				t.Fatal(err)
			}
			test.damage(t, l.bucket)
			said, _ := l.run()
			state := l.read("var/lib/evidence.state")
			if test.says != "" {
				if !strings.Contains(state, test.says) || l.there("opt/toolkit") || l.there("var/lib/toolkit.part") {
					t.Errorf("tools there: %t; it says %s%s", l.there("opt/toolkit"), state, said)
				}
				return
			}
			info, err := os.Stat(filepath.Join(l.root, "opt/toolkit/sleuthkit-4.14.0/bin/fls"))
			if err != nil || info.Mode().Perm() != 0o755 || !l.there("opt/toolkit/yara-x-1.9.0/rules/all.yar") || l.read("opt/toolkit/done") != "installed\n" {
				t.Errorf("%v %v; it says %s%s", info, err, state, said)
			}
			if !strings.Contains(state, "every digest is as its manifest says") {
				t.Errorf("it says %s", state)
			}
		})
	}
}

// A manifest that someone with the right digest made can't write elsewhere.
func TestAManifestNeverLeadsOutOfItsFolder(t *testing.T) {
	for _, path := range []string{"../evil", "/etc/evil", "a/../../evil", "a b", "a;b", "-rf/..", ""} {
		kit := Toolkit{Schema: ToolkitSchema, Files: []ToolFile{{Path: path, SHA256: strings.Repeat("0", 64)}}}
		text, digest, err := kit.Encode()
		if err != nil {
			t.Fatal(err)
		}
		l := newLaptop(t, digest)
		l.write(filepath.Join(l.bucket, "toolkits", digest, "manifest.json"), string(text), 0o600)
		if _, err := l.run(); err == nil || !strings.Contains(l.read("var/lib/evidence.state"), "REFUSED: its manifest can't be read") {
			t.Errorf("%q: %v: %s", path, err, l.read("var/lib/evidence.state"))
		}
	}
}

func TestFindingsAreLeftUnderTheRoom(t *testing.T) {
	l := newLaptop(t, "")
	note := filepath.Join(t.TempDir(), "note.txt")
	l.write(note, "seen", 0o600)
	said, err := l.run("finding", note)
	if err != nil || !strings.Contains(said, "note.txt") {
		t.Fatalf("%v: %s", err, said)
	}
	if b, err := os.ReadFile(filepath.Join(l.bucket, "rooms/INC-1/room/findings/note.txt")); err != nil || string(b) != "seen" {
		t.Errorf("%q, %v", b, err)
	}
	if !strings.Contains(l.read("calls"), "--checksum-algorithm SHA256") {
		t.Errorf("calls %s", l.read("calls"))
	}
}

func TestAToolkitIsFoldersOfNameAndVersion(t *testing.T) {
	kit, err := ReadToolkit(bundle)
	if err != nil {
		t.Fatal(err)
	}
	if want := []Tool{{"sleuthkit", "4.14.0"}, {"yara-x", "1.9.0"}}; !slices.Equal(kit.Tools, want) || len(kit.Files) != 4 {
		t.Errorf("got %+v", kit)
	}
	bad := maps.Clone(bundle)
	bad["README"] = &fstest.MapFile{}
	bad["tool/x"] = &fstest.MapFile{}
	bad["a-1/spa ce"] = &fstest.MapFile{}
	bad["a-1/link"] = &fstest.MapFile{Mode: fs.ModeSymlink}
	if _, err = ReadToolkit(bad); err == nil {
		t.Fatal("it was taken")
	}
	for _, path := range []string{"README", "tool/x", "a-1/spa ce", "a-1/link"} { // all at once
		if !strings.Contains(err.Error(), path+":") {
			t.Errorf("%v, without %s", err, path)
		}
	}
	if _, err := ReadToolkit(fstest.MapFS{}); err == nil {
		t.Error("a toolkit of nothing was taken")
	}
}

func TestATemplateOfAnySizeFits(t *testing.T) {
	for n := 1; n <= maxInstances; n++ {
		body, err := Template(n)
		if err != nil {
			t.Fatal(err)
		}
		var parsed struct {
			Resources map[string]struct{ Type string }
			Outputs   map[string]struct{ Value any }
		}
		if err := json.Unmarshal([]byte(body), &parsed); err != nil {
			t.Fatal(err)
		}
		instances := 0
		for _, r := range parsed.Resources {
			if r.Type == "AWS::EC2::Instance" {
				instances++
			}
		}
		// A template's text has 51,200 bytes at most, user data 16 KiB ("CloudFormation quotas", "Run commands at launch").
		if len(body) > 51200 || instances != n || len(bare(examiner)) > 15<<10 || strings.Contains(body, `"SCRIPT"`) || parsed.Outputs[outInstances].Value == nil {
			t.Errorf("%d instances: %d bytes, %d in it", n, len(body), instances)
		}
	}
	for _, n := range []int{0, maxInstances + 1} {
		if _, err := Template(n); err == nil {
			t.Errorf("%d instances were taken", n)
		}
	}
}
