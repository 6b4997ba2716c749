package journal

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"github.com/gowebpki/jcs"

	"github.com/cordon-ir/cordon/internal/incident"
)

// maxEntry bounds one entry, in bytes, so that a reader of a damaged or hostile
// file never has to hold an endless line.
const maxEntry = 16 << 20

// record is an entry as it is stored: canonical JSON, hash included.
type record struct {
	seq uint64
	raw []byte
}

const hashField = `"hash":"`

// split cuts the hash field out of a stored entry. The last `"hash":"` is
// always the entry's own: canonical JSON sorts the fields, so only strings and
// numbers follow it, and a quote inside a string is written \".
func split(raw []byte) (before, hash, after []byte, ok bool) {
	i := bytes.LastIndex(raw, []byte(hashField))
	if i < 0 {
		return nil, nil, nil, false
	}
	rest := raw[i+len(hashField):]
	end := bytes.Index(rest, []byte(`",`))
	if end < 0 {
		return nil, nil, nil, false
	}
	return raw[:i], rest[:end], rest[end+2:], true
}

// leaf is what is hashed, in the chain and in the tree: the entry without its
// hash field.
func leaf(raw []byte) ([]byte, error) {
	before, _, after, ok := split(raw)
	if !ok {
		return nil, errors.New("has no hash field")
	}
	return append(bytes.Clone(before), after...), nil
}

// seal returns the one way in which an entry is stored. It computes the hash
// and ignores e.Hash.
func seal(e incident.Entry) ([]byte, error) {
	e.Hash = ""
	b, err := json.Marshal(e)
	if err != nil {
		return nil, err
	}
	b, err = jcs.Transform(b)
	if err != nil {
		return nil, err
	}
	before, _, after, ok := split(b)
	if !ok {
		return nil, errors.New("has no hash field")
	}
	sum := sha256.New()
	sum.Write(before)
	sum.Write(after)
	raw := make([]byte, 0, len(b)+2*sha256.Size)
	raw = append(append(raw, before...), hashField...)
	raw = hex.AppendEncode(raw, sum.Sum(nil))
	raw = append(append(raw, `",`...), after...)
	if len(raw) > maxEntry {
		return nil, fmt.Errorf("is %d bytes long, the limit is %d", len(raw), maxEntry)
	}
	return raw, nil
}

// decode reads a stored entry without checking it.
func decode(raw []byte) (incident.Entry, error) {
	var e incident.Entry
	err := json.Unmarshal(raw, &e)
	return e, err
}

// checkForm reads a stored entry and proves that its bytes are the only ones
// that its content can have: every byte counts.
func checkForm(raw []byte) (incident.Entry, error) {
	e, err := decode(raw)
	if err != nil {
		return e, fmt.Errorf("is not an entry: %w", err)
	}
	e.Time = e.Time.UTC()
	want, err := seal(e)
	if err != nil {
		return e, fmt.Errorf("is not an entry: %w", err)
	}
	if bytes.Equal(raw, want) {
		return e, nil
	}
	gotBefore, hash, gotAfter, ok := split(raw)
	wantBefore, _, wantAfter, _ := split(want)
	if ok && bytes.Equal(gotBefore, wantBefore) && bytes.Equal(gotAfter, wantAfter) {
		return e, fmt.Errorf("hash %q is not that of its content", hash)
	}
	return e, errors.New("is not in canonical form")
}

// marshalData turns a draft's data into JSON and refuses what canonical JSON
// would silently change.
func marshalData(data any) (json.RawMessage, error) {
	if data == nil {
		return nil, nil
	}
	b, err := json.Marshal(data)
	if err != nil {
		return nil, err
	}
	return b, checkIntegers(b)
}

// checkIntegers refuses integers that an IEEE 754 double can't hold exactly:
// RFC 8785 (section 3.2.2.3) writes every number as a double, RFC 7493 (section
// 2.2) gives the range. Such a value belongs in a string. b is valid JSON.
func checkIntegers(b []byte) error {
	const limit = 1<<53 - 1
	for i := 0; i < len(b); {
		switch c := b[i]; {
		case c == '"':
			i += stringLen(b[i:])
		case c == '-' || c >= '0' && c <= '9':
			n := bytes.IndexAny(b[i:], ",]} \t\r\n")
			if n < 0 {
				n = len(b) - i
			}
			number := string(b[i : i+n])
			v, err := strconv.ParseInt(number, 10, 64)
			tooLarge := errors.Is(err, strconv.ErrRange) || err == nil && (v > limit || v < -limit)
			if tooLarge {
				return fmt.Errorf("integer %s is too large for JSON: write it as a string", number)
			}
			i += n
		default:
			i++
		}
	}
	return nil
}

// stringLen is the length of the JSON string that b begins with, quotes included.
func stringLen(b []byte) int {
	for i := 1; i < len(b); i++ {
		switch b[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return len(b)
}
