package isolate

import (
	"net/netip"
	"strings"
)

// claim is what isolate.network said of one path: that it is cut, or that it
// lives on. A flow is on the path that names the flow's remote address, the most specific one.
type claim struct {
	Interface string
	To        []netip.Prefix
	Unread    bool   // it also names what is no block of addresses: a prefix list
	Words     string // as it was said
}

// claims reads paths as isolate.network writes them (reach.Path): the interface
// first, and the routed destinations, in brackets. What names no block matches nothing.
func claims(paths []string) []claim {
	all := make([]claim, 0, len(paths))
	for _, path := range paths {
		c := claim{Words: path}
		for _, word := range strings.Fields(path) {
			word = strings.Trim(word, "(),;")
			switch p, err := netip.ParsePrefix(word); {
			case err == nil:
				c.To = append(c.To, p.Masked())
			case c.Interface == "" && strings.HasPrefix(word, "eni-"):
				c.Interface = word
			case strings.HasPrefix(word, "pl-"):
				c.Unread = true
			}
		}
		all = append(all, c)
	}
	return all
}

// match is the claim about a remote address and the length of its block; nil for none.
func match(all []claim, eni string, remote netip.Addr) (best *claim, bits int) {
	bits = -1
	for i := range all {
		for _, p := range all[i].To {
			if all[i].Interface == eni && p.Contains(remote) && p.Bits() > bits {
				best, bits = &all[i], p.Bits()
			}
		}
	}
	return best, bits
}

// said is what was claimed of the path of a flow: cut is nil unless it was said
// to be cut and nothing else that was said may mean it.
func said(cut, open []claim, eni string, remote netip.Addr) (isCut, isOpen *claim) {
	c, cutBits := match(cut, eni, remote)
	o, openBits := match(open, eni, remote)
	switch {
	case c == nil && o == nil:
		return nil, nil
	case o != nil && openBits >= cutBits:
		return nil, o
	}
	for i := range open {
		if open[i].Interface == eni && open[i].Unread { // its addresses are not known: the flow may be on it
			return nil, &open[i]
		}
	}
	return c, nil
}
