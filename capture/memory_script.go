package capture

import (
	"errors"
	"fmt"
	"path"
	"regexp"
	"strings"
	"time"
)

const (
	maxMemoryMinutes = 60
	// memoryReserve of the limit is left to write out and hash the image, once the tool has been ended.
	memoryReserve = 15 * time.Second
	maxHostPath   = 255
)

type memoryInput struct {
	Tool          string `json:"tool"`
	ToolSHA256    string `json:"tool_sha256"`
	Output        string `json:"output"`
	OnRoot        bool   `json:"on_root"`
	Kernel        string `json:"kernel"`
	LimitMinutes  int    `json:"limit_minutes"`
	AllowUnlocked bool   `json:"allow_unlocked"`
}

// What reaches the host's shell is of these characters only: none that ends a quoted
// string, and no brace, of which two in a row are a parameter to Systems Manager.
var (
	hostPath      = regexp.MustCompile(`^/[A-Za-z0-9._/-]+$`)
	hexDigest     = regexp.MustCompile(`^[0-9a-f]{64}$`)
	kernelRelease = regexp.MustCompile(`^[A-Za-z0-9._+~-]{1,64}$`)
)

func (in memoryInput) check() error {
	var found []error
	wrong := func(format string, args ...any) { found = append(found, fmt.Errorf(format, args...)) }
	for _, p := range []struct{ name, value string }{{"tool", in.Tool}, {"output", in.Output}} {
		switch {
		case !hostPath.MatchString(p.value) || len(p.value) > maxHostPath:
			wrong("%s is %q: want an absolute path of letters, digits and ./_-, of %d characters at most", p.name, p.value, maxHostPath)
		case path.Clean(p.value) != p.value:
			wrong("%s is %q: want it without empty parts, . and .., as %s", p.name, p.value, path.Clean(p.value))
		}
	}
	if in.Tool == in.Output && in.Tool != "" {
		wrong("output is the tool itself")
	}
	if !hexDigest.MatchString(in.ToolSHA256) {
		wrong("tool_sha256 is %q: want the tool's SHA-256 as 64 lower-case hexadecimal digits", in.ToolSHA256)
	}
	if in.Kernel != "" && !kernelRelease.MatchString(in.Kernel) {
		wrong("kernel is %q: want what uname -r prints: letters, digits and ._+~-, 64 at most", in.Kernel)
	}
	if in.LimitMinutes < 1 || in.LimitMinutes > maxMemoryMinutes {
		wrong("limit_minutes is %d: want 1 to %d", in.LimitMinutes, maxMemoryMinutes)
	}
	return errors.Join(found...)
}

func (in memoryInput) limit() time.Duration { return time.Duration(in.LimitMinutes) * time.Minute }

// script checks the host, runs the tool once, and prints an acquisition as JSON. A
// refusal, which ends with code 3, is printed before anything was run or written. The limit
// that the tool runs under is timeout's: it makes a process group of its own, which a cancelled command may leave alive.
func (in memoryInput) script() string {
	onRoot := "no"
	if in.OnRoot {
		onRoot = "yes"
	}
	seconds := int((in.limit() - memoryReserve).Seconds())
	return fmt.Sprintf("tool=%s want=%s out=%s kernel=%s on_root=%s limit=%d\n",
		quoted(in.Tool), quoted(in.ToolSHA256), quoted(in.Output), quoted(in.Kernel), onRoot, seconds) + memoryScript
}

// quoted for a POSIX shell.
func quoted(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// MemTotal lacks what the kernel has reserved, so that an image can be larger: a sixteenth is
// added. Image and directory are written out before the hash, because a snapshot has only what has reached the volume
// ("Create Amazon EBS snapshots").
const memoryScript = `export LC_ALL=C TZ=UTC PATH=/usr/sbin:/usr/bin:/sbin:/bin
umask 077
release=$(uname -r)
refuse() { printf '{"state":"refused","reason":"%s","found":"%s","kernel":"%s"}\n' "$1" "$2" "$release"; exit 3; }
[ -z "$kernel" ] || [ "$release" = "$kernel" ] || refuse kernel "$release"
[ -f "$tool" ] && [ -x "$tool" ] || refuse tool ""
digest=$(sha256sum < "$tool") || refuse digest ""
digest=${digest%% *}
[ "$digest" = "$want" ] || refuse digest "$digest"
if [ -e "$out" ] || [ -L "$out" ]; then refuse exists ""; fi
dir=${out%/*}
dir=${dir:-/}
[ -d "$dir" ] || refuse directory ""
type=$(stat -f -c %T "$dir")
case "$type" in tmpfs|ramfs) refuse volatile "$type" ;; esac
[ "$on_root" = yes ] || [ "$(stat -L -c %d "$dir")" != "$(stat -L -c %d /)" ] || refuse root ""
need=$(awk '/^MemTotal:/ { print $2; exit }' /proc/meminfo)
free=$(df -Pk "$dir" | awk 'NR == 2 { print $4 }')
case "$need" in ''|*[!0-9]*) refuse unreadable MemTotal ;; esac
case "$free" in ''|*[!0-9]*) refuse unreadable "free space" ;; esac
need=$((need + need / 16))
[ "$free" -ge "$need" ] || refuse space "$free KiB of $need KiB"
command -v timeout >/dev/null || refuse unreadable timeout
begun=$(date +%Y-%m-%dT%H:%M:%SZ)
timeout -k 10 "$limit" "$tool" "$out" >&2
code=$?
ended=$(date +%Y-%m-%dT%H:%M:%SZ)
state=failed sum= bytes=0
[ ! -f "$out" ] || bytes=$(stat -c %s "$out")
if [ "$code" -eq 0 ] && [ -f "$out" ] && [ ! -L "$out" ]; then
  sync
  sum=$(sha256sum < "$out") && state=done
  sum=${sum%% *}
fi
printf '{"state":"%s","code":%d,"kernel":"%s","tool_sha256":"%s","bytes":%d,"sha256":"%s","begun":"%s","ended":"%s"}\n' \
  "$state" "$code" "$release" "$digest" "$bytes" "$sum" "$begun" "$ended"
[ "$state" = done ]
`

// refusals tell why the host's checks ended it, and what to do.
var refusals = map[string]struct{ reason, hint string }{
	"kernel":     {"the kernel that runs is another one than was expected", "look whether the tool supports it, then name it as kernel"},
	"tool":       {"the tool is not there, or can't be executed", "install the tool on the host beforehand: cordon brings none with it, and hands the host no credentials to fetch one"},
	"digest":     {"the tool's SHA-256 is another one than was expected", "do not run it: find out who has changed it, or correct tool_sha256"},
	"exists":     {"the output exists", "an earlier try may have written it; name another output, nothing is overwritten"},
	"directory":  {"the output's directory is not there", "name a directory on a volume that is attached and mounted for this"},
	"volatile":   {"the output's directory is kept in memory itself", "name a directory on a volume"},
	"root":       {"the output is on the root file system, where it would overwrite what was deleted", "attach and mount a volume for it, or set on_root: true"},
	"space":      {"too little space is free for the whole memory", "name an output on a larger volume"},
	"unreadable": {"the host can't be checked", "look at the host's /proc, df and coreutils"},
}
