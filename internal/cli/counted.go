package cli

import (
	"fmt"
	"io"
)

// listed is how many lines of one kind are shown, however many there are.
const listed = 30

// counted is text that is said many times, in the order in which it was first said.
type counted struct {
	times map[string]int
	order []string
}

func (c *counted) add(text string) {
	if c.times == nil {
		c.times = make(map[string]int)
	}
	if c.times[text]++; c.times[text] == 1 {
		c.order = append(c.order, text)
	}
}

// write shows each text once, with how often it was said.
func (c *counted) write(out io.Writer, indent string) {
	for i, text := range c.order {
		if i == listed {
			fmt.Fprintf(out, "%sand %d more\n", indent, len(c.order)-listed)
			return
		}
		if n := c.times[text]; n > 1 {
			text += fmt.Sprintf(" (%d times)", n)
		}
		fmt.Fprintf(out, "%s%s\n", indent, text)
	}
}
