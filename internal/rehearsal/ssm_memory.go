package rehearsal

import (
	"crypto/sha256"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// What every simulated host has for an acquisition of its memory: one tool, and /srv, a volume of its own.
const (
	memoryTool      = "/usr/local/bin/avml"
	memoryKernel    = "6.1.155-176.282.amzn2023.x86_64"
	acquisitionTime = 90 * time.Second
	memoryBytes     = 4 << 30
)

// memoryToolDigest is made up, as the tool is.
var memoryToolDigest = fmt.Sprintf("%x", sha256.Sum256([]byte("cordon rehearsal: a simulated acquisition tool")))

// acquires is the first line of a script that runs an acquisition tool.
var acquires = regexp.MustCompile(`^tool='([^']*)' want='([^']*)' out='([^']*)' kernel='([^']*)' on_root=(yes|no) limit=(\d+)\n`)

// runTime is what the host takes to run the command.
func (c *runCommand) runTime(i *instance) time.Duration {
	if i == nil {
		return commandTime
	}
	m := acquires.FindStringSubmatch(strings.Join(c.Params["commands"], "\n"))
	if m == nil || i.refusesMemory(m) != "" {
		return commandTime
	}
	return min(acquisitionTime, memoryLimit(m))
}

func memoryLimit(m []string) time.Duration {
	seconds, err := strconv.Atoi(m[6])
	if err != nil { // more digits than a number has
		return acquisitionTime
	}
	return time.Duration(seconds) * time.Second
}

// refusesMemory: what the script's checks would print, in their order; empty where they let the tool run.
func (i *instance) refusesMemory(m []string) string {
	tool, want, out, kernel, onRoot := m[1], m[2], m[3], m[4], m[5]
	refuse := func(reason, found string) string {
		return fmt.Sprintf(`{"state":"refused","reason":"%s","found":"%s","kernel":"%s"}`+"\n", reason, found, memoryKernel)
	}
	switch {
	case kernel != "" && kernel != memoryKernel:
		return refuse("kernel", memoryKernel)
	case tool != memoryTool:
		return refuse("tool", "")
	case want != memoryToolDigest:
		return refuse("digest", memoryToolDigest)
	case slices.Contains(i.MemoryImages, out):
		return refuse("exists", "")
	case onRoot != "yes" && !strings.HasPrefix(out, "/srv/"):
		return refuse("root", "")
	}
	return ""
}

// acquire answers a script that runs an acquisition tool. The image has a size and a digest, and no bytes.
func (i *instance) acquire(m []string, now time.Time) (out string, code int32) {
	if refused := i.refusesMemory(m); refused != "" {
		return refused, 3
	}
	i.MemoryImages = append(i.MemoryImages, m[3])
	state, ended, bytes, sum := "done", int32(0), int64(memoryBytes), fmt.Sprintf("%x", sha256.Sum256([]byte("memory of "+i.ID)))
	limit := memoryLimit(m)
	took := min(acquisitionTime, limit)
	if limit < acquisitionTime {
		state, ended, bytes, sum = "failed", 124, memoryBytes/2, ""
	}
	at := func(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05Z") }
	return fmt.Sprintf(`{"state":"%s","code":%d,"kernel":"%s","tool_sha256":"%s","bytes":%d,"sha256":"%s","begun":"%s","ended":"%s"}`+"\n",
		state, ended, memoryKernel, m[2], bytes, sum, at(now.Add(-took)), at(now)), min(ended, 1)
}
