package conformance

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
)

const testCase = "INC-1"

// responder is somebody at a terminal of their own: the built binary, the AWS
// CLI, and an account in moto that both reach by AWS_ENDPOINT_URL.
type responder struct {
	t    *testing.T
	w    webTier
	home string
	env  []string
}

// newResponder builds the web tier in an empty account and opens a case. When
// the test ends, every request in the case's journal is held to AWS's own models; that is why
// commands are verbose, but for those that are killed at an entry's number.
func newResponder(t *testing.T) *responder {
	t.Helper()
	endpoint, home := startMoto(t), t.TempDir()
	r := &responder{t: t, w: buildWebTier(t, motoConfig(t, endpoint)), home: home, env: []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + home, "XDG_STATE_HOME=" + filepath.Join(home, "state"),
		"XDG_CONFIG_HOME=" + filepath.Join(home, "config"), "XDG_CACHE_HOME=" + filepath.Join(home, "cache"),
		"AWS_ENDPOINT_URL=" + endpoint, "AWS_ACCESS_KEY_ID=" + motoKey, "AWS_SECRET_ACCESS_KEY=" + motoSecret,
		"AWS_REGION=" + motoRegion, "AWS_DEFAULT_REGION=" + motoRegion, "AWS_EC2_METADATA_DISABLED=true", "AWS_PAGER=",
		"AWS_MAX_ATTEMPTS=2", // what moto lacks it answers with a 500, which is worth a retry on AWS only
	}}
	config := filepath.Join(home, "config", "cordon", "config.yaml")
	if err := os.MkdirAll(filepath.Dir(config), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(config, []byte("evidence:\n  bucket: "+r.w.Bucket+"\n  mode: governance\n  days: 30\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r.cordon("case", "open", testCase)
	t.Cleanup(func() { t.Log(checkJournal(t, r.cordon("journal", "export", "--case", testCase))) })
	return r
}

func (r *responder) command(args ...string) *exec.Cmd {
	cmd := exec.Command(binary, append([]string{"--yes", "--output", "json"}, args...)...)
	cmd.Dir, cmd.Env = r.home, r.env
	return cmd
}

// cordon runs a command, which must succeed, and gives what it printed.
func (r *responder) cordon(args ...string) []byte {
	r.t.Helper()
	return r.ends(0, args...)
}

// ends runs a command, which must end with the code, and gives what it printed.
func (r *responder) ends(code int, args ...string) []byte {
	r.t.Helper()
	cmd := r.command(append([]string{"--verbose"}, args...)...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if got := cmd.ProcessState.ExitCode(); got != code {
		r.t.Fatalf("cordon %s: exit %d (%v), want %d\n%s", strings.Join(args, " "), got, err, code, stderr.String())
	}
	return stdout.Bytes()
}

// summary is as much of a run's last object as the tests look at.
type summary struct {
	Type    string `json:"type"`
	Outcome string `json:"outcome"`
	Steps   []struct {
		ID    string `json:"id"`
		State string `json:"state"`
		Error string `json:"error"`
	} `json:"steps"`
	ContainedAfter *float64 `json:"contained_after_s"`
	Evidence       []struct {
		ID       string `json:"id"`
		Kind     string `json:"kind"`
		Location string `json:"location"`
		SHA256   string `json:"sha256"`
		Bytes    int64  `json:"bytes"`
	} `json:"evidence"`
}

func (r *responder) summary(printed []byte) summary {
	r.t.Helper()
	lines := bytes.Split(bytes.TrimSpace(printed), []byte("\n"))
	var s summary
	if err := json.Unmarshal(lines[len(lines)-1], &s); err != nil || s.Type != "summary" {
		r.t.Fatalf("the last line is no summary: %v: %s", err, lines[len(lines)-1])
	}
	return s
}

// respond runs a playbook on the suspect. Every step must succeed but those
// that the deviations explain; those must fail, and for that reason.
func (r *responder) respond(playbook string, sets ...string) summary {
	r.t.Helper()
	args := []string{"run", playbook, "--case", testCase, "--instance", r.w.Suspect}
	for _, s := range sets {
		args = append(args, "--set", s)
	}
	return r.checked(playbook, sets, args...)
}

// checked runs what makes a run with these inputs, to its end.
func (r *responder) checked(playbook string, sets []string, args ...string) summary {
	r.t.Helper()
	failing := explainedFailures(playbook, sets)
	code := 0
	for _, f := range failing {
		if code = max(code, 3); f.unproven {
			code = 4
		}
	}
	s := r.summary(r.ends(code, args...))
	for _, step := range s.Steps {
		failure, expected := failing[step.ID]
		switch {
		case expected && (step.State != "failed" || !strings.Contains(step.Error, failure.says)):
			r.t.Errorf("%s: step %s is %s (%s); moto's deviation makes it fail with %q", playbook, step.ID, step.State, step.Error, failure.says)
		case !expected && step.State != "succeeded" && step.State != "skipped":
			r.t.Errorf("%s: step %s is %s: %s", playbook, step.ID, step.State, step.Error)
		}
	}
	r.cordon("journal", "verify", "--case", testCase)
	return s
}

// killedAtChange runs a command and kills it, by SIGKILL, at the nth request that changes
// something: where n is even it never reaches moto, where it is odd moto has done it
// and the answer is lost. It reports whether the command came that far.
func (r *responder) killedAtChange(n int64, args ...string) bool {
	r.t.Helper()
	to, err := url.Parse(moto.endpoint)
	if err != nil {
		r.t.Fatal(err)
	}
	quiet := log.New(io.Discard, "", 0) // of the connections that a dead process leaves behind
	forward := &httputil.ReverseProxy{Rewrite: func(p *httputil.ProxyRequest) { p.SetURL(to) }, ErrorLog: quiet}
	cmd, started, dead := r.command(args...), make(chan struct{}), make(chan struct{})
	var changes atomic.Int64
	between := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		body, err := io.ReadAll(q.Body)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		q.Body = io.NopCloser(bytes.NewReader(body))
		if !changing(q, body) || changes.Add(1) != n {
			forward.ServeHTTP(w, q)
			return
		}
		if n%2 == 1 {
			forward.ServeHTTP(httptest.NewRecorder(), q)
		}
		<-started
		_ = cmd.Process.Kill() // Wait tells
		<-dead
		panic(http.ErrAbortHandler)
	}))
	between.Config.ErrorLog = quiet
	defer between.Close()
	cmd.Env = append(cmd.Env, "AWS_ENDPOINT_URL="+between.URL)
	if err := cmd.Start(); err != nil {
		r.t.Fatal(err)
	}
	close(started)
	err = cmd.Wait()
	close(dead)
	var exit *exec.ExitError
	return errors.As(err, &exit) && exit.ExitCode() == -1
}

// changing tells whether a request changes something: by its operation, or, as S3 has it, by its method.
func changing(q *http.Request, body []byte) bool {
	_, operation, json := strings.Cut(q.Header.Get("X-Amz-Target"), ".")
	if !json {
		form, err := url.ParseQuery(string(body))
		if operation = form.Get("Action"); err != nil || operation == "" {
			return q.Method != http.MethodGet && q.Method != http.MethodHead
		}
	}
	for _, read := range []string{"Describe", "Get", "List", "Lookup"} {
		if strings.HasPrefix(operation, read) {
			return false
		}
	}
	return true
}

// aws asks the AWS CLI. query is JMESPath.
func (r *responder) aws(query string, args ...string) any {
	r.t.Helper()
	cmd := exec.Command(tool("aws"), append(args, "--output", "json", "--query", query)...)
	cmd.Dir, cmd.Env = r.home, r.env
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		r.t.Fatalf("aws %s: %v\n%s", strings.Join(args, " "), err, stderr.String())
	}
	var answer any
	if err := json.Unmarshal(out, &answer); err != nil {
		r.t.Fatalf("aws %s: %v: %s", strings.Join(args, " "), err, out)
	}
	return answer
}

// texts are the answer's strings, sorted; the answer must be a list of them.
func (r *responder) texts(query string, args ...string) []string {
	r.t.Helper()
	list, ok := r.aws(query, args...).([]any)
	if !ok {
		r.t.Fatalf("aws %s: %s is no list", strings.Join(args, " "), query)
	}
	all := make([]string, 0, len(list))
	for _, v := range list {
		all = append(all, v.(string))
	}
	slices.Sort(all)
	return all
}

// expect compares what the AWS CLI sees with what must be.
func (r *responder) expect(what string, want any, query string, args ...string) {
	r.t.Helper()
	b, err := json.Marshal(want)
	if err != nil {
		r.t.Fatal(err)
	}
	var plain any
	if err := json.Unmarshal(b, &plain); err != nil {
		r.t.Fatal(err)
	}
	if got := r.aws(query, args...); !reflect.DeepEqual(got, plain) {
		r.t.Errorf("%s: the AWS CLI shows %v, want %v", what, got, plain)
	}
}
