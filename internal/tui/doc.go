// Package tui is the terminal's view of cordon: what a responder wants in front
// of them at three in the morning.
//
// One root model, App, keeps a stack of Screens and shows the top one. A screen
// is a plain struct: it draws what it knows, takes keys, and gets what it asked
// for as messages. It never waits and never reads anything in Update or View.
//
// What a screen shows comes from two places only. Cordon runs this same program
// with the flags that the TUI was started with, reading its JSON: everything the
// TUI can do, a command line can do. And a follower hands over the entries of a
// case's journal, from the file or from the process that holds the case; CaseView
// folds them, as everyone does who knows anything about a case.
//
// A run lives in a process and a session of its own. Closing or killing the TUI
// never touches it.
//
// To add a screen: write the struct in a file of its own, with the methods of
// Screen; make it where a key leads to it, with Push; read through Env.Cordon in a
// tea.Cmd; add its views to the golden ones. The letters n, y, ?, q and esc are
// the App's, wherever nothing is being typed. The letters that lead from screen
// to screen are the same everywhere: routes.go.
//
// It imports incident, journal, evidence and triage, and never AWS: it works without
// an account. It reads the time through incident.Clock.
package tui
