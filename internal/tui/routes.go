package tui

// The letters that lead from screen to screen, the same on every screen.
const (
	keyIncident = "i" // a new incident
	keyPlan     = "p" // a playbook and its plan
	keyAfter    = "e" // evidence and what comes after a run
	keyRelease  = "u" // undo the isolation
	keyFilter   = "/"
)

// The App's own keys.
const (
	keyHelp = "?"
	keyNote = "n"
	keyCopy = "y"
	keyBack = "esc"
	keyQuit = "q"
	keyKill = "ctrl+c"
)
