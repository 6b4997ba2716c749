package main

import (
	"strings"
	"testing"
)

func TestAPieceOfTextStandsInItsColumnWithItsColours(t *testing.T) {
	palette := looks[0].palette
	got := palette.svg("ab\x1b[1;31mcd\x1b[m \x1b[7me<\x1b[27m▸f\n", 10, 1)
	for _, want := range []string{
		`x="10" y="23" textLength="16" lengthAdjust="spacingAndGlyphs" xml:space="preserve" fill="` + palette[foreground] + `">ab<`,
		`x="26" y="23" textLength="16" lengthAdjust="spacingAndGlyphs" xml:space="preserve" fill="` + palette[1] + `" font-weight="bold">cd<`,
		`<rect x="50" y="10" width="16" height="17" fill="` + palette[foreground] + `"/>`,
		`x="50" y="23" textLength="16" lengthAdjust="spacingAndGlyphs" xml:space="preserve" fill="` + palette[background] + `">e&lt;<`,
		`x="66" y="23"`,
	} {
		if !strings.Contains(got, want) {
			t.Errorf("it has no %s:\n%s", want, got)
		}
	}
}
