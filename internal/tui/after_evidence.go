package tui

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"

	"github.com/cordon-ir/cordon/internal/evidence"
	"github.com/cordon-ir/cordon/internal/incident"
)

// evidenceList is After's page of evidence.
type evidenceList struct {
	chosen string // an item's ID
	report *evidenceReport
}

// evidenceReport is what 'evidence verify --output json' prints.
type evidenceReport struct {
	Store     string                `json:"store"`
	Verified  bool                  `json:"verified"`
	Journaled bool                  `json:"journaled"`
	Cases     []evidence.CaseReport `json:"cases"`
}

// verifiedEvidenceMsg is the answer of 'evidence verify'.
type verifiedEvidenceMsg struct {
	report evidenceReport
	err    error
}

// take keeps a report; the error is that of a verification that could not be done.
func (l *evidenceList) take(m verifiedEvidenceMsg) error {
	if len(m.report.Cases) == 0 {
		return m.err
	}
	l.report = &m.report
	return nil
}

// found is what the last verification here found of an item; nil: it was not looked at.
func (l *evidenceList) found(id string) *evidence.ItemReport {
	if l.report == nil {
		return nil
	}
	items := l.report.Cases[0].Items
	if i := slices.IndexFunc(items, func(it evidence.ItemReport) bool { return it.ID == id }); i >= 0 {
		return &items[i]
	}
	return nil
}

func (a *After) items() []evidence.Item { return a.view.Custody.Items }

// itemAt is the place of the chosen item.
func (a *After) itemAt() int {
	return max(0, slices.IndexFunc(a.items(), func(it evidence.Item) bool { return it.ID == a.evidence.chosen }))
}

func (a *After) evidenceKey(key string) tea.Cmd {
	items := a.items()
	if len(items) == 0 {
		return nil
	}
	if at, ok := listKey(key, a.itemAt(), len(items)); ok {
		a.evidence.chosen = items[at].ID
		return nil
	}
	item := items[a.itemAt()]
	if key == "enter" {
		return Push(&itemScreen{of: a, id: item.ID})
	}
	return a.itemKey(key, item)
}

// listKey moves in a list of n; false: it was another key.
func listKey(key string, at, n int) (int, bool) {
	const page = 10
	switch key {
	case "up", "k":
		at--
	case "down", "j":
		at++
	case "pgup":
		at -= page
	case "pgdown":
		at += page
	case "home", "g":
		at = 0
	case "end", "G":
		at = n - 1
	default:
		return at, false
	}
	return max(0, min(at, n-1)), true
}

// itemKey does what a key asks of an item.
func (a *After) itemKey(key string, item evidence.Item) tea.Cmd {
	switch key {
	case "v":
		return a.verifyEvidence("")
	case "V":
		return a.verifyEvidence(item.ID)
	case "h":
		return a.askHold(item)
	case "f":
		return a.askFetch(item)
	case "t":
		return a.askTransfer(item)
	}
	return nil
}

func (a *After) evidenceKeys() []Key {
	return []Key{{"enter", "custody"}, {"v", "verify all"}, {"V", "verify this"}, {"h", "legal hold"}, {"f", "fetch"}, {"t", "hand over"}}
}

// verifyEvidence re-reads an item, or all of them.
func (a *After) verifyEvidence(id string) tea.Cmd {
	args, what := []string{"evidence", "verify", "--case", a.caseID}, "verifying "+count(len(a.items()), "item", "items")
	if id != "" {
		args, what = append(args, id), "verifying "+id
	}
	return a.begin(what, false, args, func() tea.Msg {
		var m verifiedEvidenceMsg
		m.err = a.env.Cordon.Read(a.ctx, &m.report, args...)
		return m
	})
}

// askHold asks why, then whether, a legal hold is put on an item or lifted.
func (a *After) askHold(item evidence.Item) tea.Cmd {
	if item.Key == "" {
		return Warn("it is kept in AWS: a legal hold is put on objects of the evidence store")
	}
	word, question, done := "on", "Put a legal hold on "+item.ID+"?", "a legal hold is on "+item.ID
	lines := []string{"Nobody can delete its objects until the hold is lifted, whatever becomes of their retention."}
	impact := incident.Additive
	if a.view.Custody.Held(item.ID) {
		word, question, done = "off", "Lift the legal hold from "+item.ID+"?", "the legal hold is lifted from "+item.ID
		lines = []string{"From then on only its retention keeps it: " + a.keptText(item)}
		impact = incident.Disruptive
	}
	a.prompt = newPrompt("why? the order's number, who asked for it (may be empty)", "", "", true, func(reason string) tea.Cmd {
		args := []string{"evidence", "hold", "--case", a.caseID, item.ID, word}
		if reason != "" {
			args = append(args, "--reason", reason)
		}
		name := ""
		if impact >= incident.Disruptive {
			name = a.caseID
		}
		return Ask(Confirm{
			Question: question, Impact: impact, Lines: append(lines, "", a.env.Cordon.Line(args...)), Name: name,
			Yes: func() tea.Cmd { return a.start("legal hold "+word+": "+item.ID, done, args...) },
		})
	})
	return nil
}

// askFetch asks where an item's bytes are to go.
func (a *After) askFetch(item evidence.Item) tea.Cmd {
	if item.Key == "" {
		return Warn("it is kept in AWS, not in the evidence store: nothing can be fetched")
	}
	name := item.ID + filepath.Ext(item.Key)
	if item.Kind == evidence.KindDiskImage {
		name = item.ID + ".raw"
	}
	a.prompt = newPrompt("into which new file? its digests are checked", "", name, false, func(out string) tea.Cmd {
		if abs, err := filepath.Abs(out); err == nil {
			out = abs
		}
		return a.start("fetching "+item.ID, item.ID+" is in "+out+", digests checked", "evidence", "fetch", "--case", a.caseID, item.ID, "--out", out)
	})
	return nil
}

// askTransfer asks to whom, why and where to, then whether, an item is handed over.
func (a *After) askTransfer(item evidence.Item) tea.Cmd {
	if item.Key == "" {
		return Warn("it is kept in AWS: only what is in the evidence store is handed over")
	}
	args := []string{"evidence", "transfer", "--case", a.caseID, item.ID}
	confirm := func(copyTo string) tea.Cmd {
		lines := []string{"A signed manifest and who hands over what to whom, when and why go into the store and the journal. Nothing is taken away from where it lies."}
		if copyTo != "" {
			if abs, err := filepath.Abs(copyTo); err == nil && !strings.Contains(copyTo, "://") {
				copyTo = abs
			}
			args = append(args, "--copy-to", copyTo)
			lines = append(lines, "Its objects are copied first, and every byte of the copy is read again.")
		}
		return Ask(Confirm{
			Question: "Hand over " + item.ID + "?", Impact: incident.Additive, Lines: append(lines, "", a.env.Cordon.Line(args...)),
			Yes: func() tea.Cmd { return a.start("handing over "+item.ID, item.ID+" is handed over", args...) },
		})
	}
	a.prompt = newPrompt("to whom? name and office", "", "", false, func(to string) tea.Cmd {
		args = append(args, "--to", to)
		a.prompt = newPrompt("why? the order's number, who asked for it", "", "", false, func(reason string) tea.Cmd {
			args = append(args, "--reason", reason)
			a.prompt = newPrompt("with a copy in which store? s3://BUCKET/PREFIX or a directory (empty: none)", "", "", true, confirm)
			return nil
		})
		return nil
	})
	return nil
}

// keptText is how long an item is kept from deletion, and how.
func (a *After) keptText(it evidence.Item) string {
	if it.RetainUntil.IsZero() {
		return "not locked: nothing keeps anyone from deleting it"
	}
	return fmt.Sprintf("%s until %s, %s", strings.ToLower(it.Mode), it.RetainUntil.UTC().Format("2006-01-02 15:04 UTC"), a.leftText(it))
}

// leftText is how much of the retention is left.
func (a *After) leftText(it evidence.Item) string {
	const day = 24 * time.Hour
	switch left := it.RetainUntil.Sub(a.view.Now(a.env.Clock.Now())); {
	case left <= 0:
		return "over"
	case left < 2*day:
		return fmt.Sprintf("%.0f h left", left.Hours())
	default:
		return fmt.Sprintf("%.0f days left", left.Hours()/24)
	}
}

// verification marks when an item was verified last, and with what result.
func (a *After) verification(id string) Mark {
	t := a.env.Theme
	state, when := "", time.Time{}
	if e, ok := a.view.Custody.LastVerification(id); ok {
		state, _, _ = strings.Cut(e.Detail, ":")
		when = e.Time
	}
	if found := a.evidence.found(id); found != nil && when.Before(a.evidence.report.Cases[0].At) {
		state, when = found.State, a.evidence.report.Cases[0].At // it is not in the journal, or not yet
	}
	m := t.State(incident.Pending)
	switch state {
	case "":
		m.Word = "never"
		return m
	case evidence.StateVerified:
		m = t.State(incident.Succeeded)
	case evidence.StateElsewhere:
		m = t.State(incident.Skipped)
	default:
		m = t.State(incident.Failed)
	}
	m.Word = when.UTC().Format("01-02 15:04")
	return m
}

func (a *After) evidenceView(size Size) string {
	const wide = 140
	items := a.items()
	if len(items) == 0 {
		return "\n  no evidence in this case"
	}
	found := a.findingLines(size.W)
	size.H -= len(found)
	body := ""
	for _, l := range found {
		body += l + "\n"
	}
	if size.W >= wide {
		left := size.W * 55 / 100
		return body + beside(a.itemTable(Size{left, size.H}), left, a.itemText(items[a.itemAt()], size.W-left-2), size)
	}
	list := Size{size.W, max(4, size.H*3/5)}
	list.H = min(list.H, len(items)+1)
	return body + frame(a.itemTable(list), list) + "\n" + a.itemText(items[a.itemAt()], size.W)
}

// findingLines are what the last verification came to, and what it found of no item.
func (a *After) findingLines(width int) (lines []string) {
	r := a.evidence.report
	if r == nil {
		return nil
	}
	t, c := a.env.Theme, r.Cases[0]
	var bytes int64
	objects, wrong := 0, 0
	for _, it := range c.Items {
		objects, bytes = objects+it.Objects, bytes+it.Bytes
		if it.State == evidence.StateFailed {
			wrong++
		}
	}
	m := t.State(incident.Succeeded)
	m.Word = "verified: " + count(len(c.Items), "item", "items") + ", every byte as it was recorded"
	if !c.Verified {
		m = t.State(incident.Failed)
		m.Word = "NOT WHAT IT SHOULD BE: " + count(wrong, "item", "items") + " of " + fmt.Sprint(len(c.Items))
	}
	line := " " + m.String() + t.Dim.Render(fmt.Sprintf("  %s, %s re-read from %s", count(objects, "object", "objects"), bytesText(bytes), clean(r.Store)))
	if !r.Journaled {
		line += t.Warn.Render("  not journaled: the case is held")
	}
	lines = append(lines, fit(line, width))
	for i, f := range c.Findings {
		if i == 3 {
			return append(lines, t.Dim.Render(fmt.Sprintf("   and %d more: ", len(c.Findings)-3)+"evidence verify tells all"))
		}
		lines = append(lines, fit("   "+findingText(t, f), width))
	}
	return lines
}

// findingText is a finding in a line.
func findingText(t *Theme, f evidence.Finding) string {
	style, word := t.Bad, string(f.Problem)
	if f.Warning {
		style = t.Warn
	}
	text := clean(f.Detail)
	if f.Key != "" {
		text += " (" + clean(f.Key) + ")"
	}
	return style.Render(word) + " " + text
}

func (a *After) itemTable(size Size) string {
	const amount, kept, hold, verified = 9, 9, 4, 13
	const room = 110 // from here on there is room for kind and source
	t := a.env.Theme
	id := size.W - 2 - amount - kept - hold - verified - 5
	more := func(it evidence.Item) string { return "" }
	headMore := ""
	if size.W >= room {
		const kind, source = 10, 20
		id -= kind + source + 2
		more = func(it evidence.Item) string {
			return fit(string(it.Kind), kind) + " " + fit(clean(it.Source), source) + " "
		}
		headMore = fit("KIND", kind) + " " + fit("SOURCE", source) + " "
	}
	head := "  " + fit("ITEM", id) + " " + headMore + fit("BYTES", amount) + " " + fit("KEPT", kept) + " " + fit("HOLD", hold) + " VERIFIED"
	lines := []string{t.Dim.Render(head)}
	items, at := a.items(), a.itemAt()
	first, last := window(at, len(items), size.H-1)
	for i := first; i < last; i++ {
		it := items[i]
		name := fit(clean(it.ID), id)
		if i == at {
			name = t.Selected.Render(name)
		}
		size := ""
		if n := max(it.ContentBytes, it.Bytes); n > 0 {
			size = bytesText(n)
		}
		lines = append(lines, t.Cursor(i == at)+name+" "+more(it)+fit(size, amount)+" "+fit(a.keptShort(it), kept)+" "+fit(a.holdMark(it.ID), hold)+" "+a.verification(it.ID).String())
	}
	return strings.Join(lines, "\n")
}

// keptShort is the mode, shortened, and the days left.
func (a *After) keptShort(it evidence.Item) string {
	t := a.env.Theme
	if it.RetainUntil.IsZero() {
		return t.Warn.Render("unlocked")
	}
	mode := map[string]string{"governance": "gov", "compliance": "compl"}[strings.ToLower(it.Mode)]
	text := mode + " " + strings.Replace(strings.TrimSuffix(a.leftText(it), " left"), " days", "d", 1)
	if a.leftText(it) == "over" {
		return t.Bad.Render(text)
	}
	return text
}

func (a *After) holdMark(id string) string {
	if a.view.Custody.Held(id) {
		return a.env.Theme.Accent.Render("held")
	}
	return ""
}
