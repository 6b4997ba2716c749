package access

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	longText = 16 << 10 // bytes; longer texts are journaled as their digest
	longList = 200      // items
	exactInt = 1 << 53  // canonical JSON (RFC 8785) keeps whole numbers below exact
	dropped  = "(dropped)"
)

// redact is the input of a call as JSON, without what must never be written down: by type,
// bodies and blobs become their length and digest; by name, secrets are dropped. What
// is an enumeration stays, whatever its name.
func redact(input any) (json.RawMessage, error) {
	b, err := json.Marshal(redactValue(reflect.ValueOf(input), false))
	if err != nil {
		return nil, err
	}
	if string(b) == "null" {
		return nil, nil
	}
	return b, nil
}

// redactValue returns what encoding/json writes, or nil for what isn't set.
func redactValue(v reflect.Value, secret bool) any {
	if !v.IsValid() {
		return nil
	}
	if k := v.Kind(); (k == reflect.Pointer || k == reflect.Interface || k == reflect.Slice || k == reflect.Map) && v.IsNil() {
		return nil
	}
	if v.CanInterface() {
		switch x := v.Interface().(type) {
		case time.Time:
			return x.UTC().Format(time.RFC3339Nano)
		case io.Reader:
			return body(x)
		}
	}
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		return redactValue(v.Elem(), secret)
	case reflect.Struct:
		return redactStruct(v, secret)
	case reflect.Map:
		return redactMap(v, secret)
	case reflect.Slice, reflect.Array:
		return redactList(v, secret)
	case reflect.String:
		return redactText(v, secret)
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		if n := v.Int(); n >= exactInt || n <= -exactInt {
			return strconv.FormatInt(n, 10)
		}
		return v.Int()
	case reflect.Bool, reflect.Float32, reflect.Float64, reflect.Uint8, reflect.Uint16, reflect.Uint32:
		return v.Interface()
	default:
		return dropped
	}
}

func body(r io.Reader) any {
	out := map[string]any{"body": dropped}
	if l, ok := r.(interface{ Len() int }); ok {
		out["bytes"] = l.Len()
	}
	return out
}

func redactText(v reflect.Value, secret bool) any {
	s := v.String()
	switch {
	case v.Type() != reflect.TypeFor[string](): // an enumeration; never empty where it is set
		if s == "" {
			return nil
		}
		return s
	case secret || hasSecret(s):
		return dropped
	case len(s) > longText:
		return digest([]byte(s))
	default:
		return s
	}
}

func redactStruct(v reflect.Value, secret bool) any {
	out := make(map[string]any)
	labelled := secretLabel(v)
	for i := range v.NumField() {
		f := v.Type().Field(i)
		if !f.IsExported() || f.Name == "ResultMetadata" {
			continue
		}
		hide := secret || isSecretName(f.Name) || labelled && strings.Contains(f.Name, "Value")
		if x := redactValue(v.Field(i), hide); x != nil {
			out[f.Name] = x
		}
	}
	return out
}

// secretLabel reports whether a pair (a tag, a stack's parameter) says by its
// key that its value is a secret.
func secretLabel(v reflect.Value) bool {
	for _, name := range []string{"Key", "Name", "ParameterKey"} {
		f := v.FieldByName(name)
		if f.IsValid() && f.Kind() == reflect.Pointer && f.Type().Elem().Kind() == reflect.String && !f.IsNil() && isSecretName(f.Elem().String()) {
			return true
		}
	}
	return false
}

func redactMap(v reflect.Value, secret bool) any {
	out := make(map[string]any, v.Len())
	for it := v.MapRange(); it.Next(); {
		key := fmt.Sprint(it.Key().Interface())
		out[key] = redactValue(it.Value(), secret || isSecretName(key))
	}
	return out
}

func redactList(v reflect.Value, secret bool) any {
	if v.Type().Elem().Kind() == reflect.Uint8 {
		if secret {
			return dropped
		}
		b := make([]byte, v.Len())
		reflect.Copy(reflect.ValueOf(b), v)
		return digest(b)
	}
	out := make([]any, v.Len())
	for i := range out {
		out[i] = redactValue(v.Index(i), secret)
	}
	if len(out) > longList {
		b, err := json.Marshal(out)
		if err != nil {
			return dropped
		}
		d := digest(b)
		d["items"] = len(out)
		return d
	}
	return out
}

func digest(b []byte) map[string]any {
	sum := sha256.Sum256(b)
	return map[string]any{"sha256": hex.EncodeToString(sum[:]), "bytes": len(b)}
}

// secretNames are parts of the names of fields, keys and tags whose text is a secret, in lower case.
var secretNames = []string{
	"password", "passwd", "passphrase", "secret", "privatekey", "keymaterial", "plaintext",
	"ssecustomerkey", "userdata", "assertion", "authorization", "apikey", "presignedurl", "authenticationcode", "tokencode", "token",
}

// openTokens are tokens that open nothing: they make a call idempotent or a list
// go on, or are our own tag, by which what a lost answer left behind is found.
var openTokens = []string{
	"clienttoken", "clientrequesttoken", "idempotencytoken", "nexttoken", "startingtoken", "continuationtoken",
	"cordon:token", "tag:cordon:token",
}

func isSecretName(name string) bool {
	plain := strings.NewReplacer("_", "", "-", "", ".", "").Replace(strings.ToLower(name))
	if slices.Contains(openTokens, plain) {
		return false
	}
	return slices.ContainsFunc(secretNames, func(part string) bool { return strings.Contains(plain, part) })
}

// hasSecret finds credentials inside a text: a presigned URL, a signed
// request's header, a private key.
func hasSecret(s string) bool {
	lower := strings.ToLower(s)
	for _, mark := range []string{"x-amz-signature", "x-amz-security-token", "aws4-hmac-sha256", "aws_secret_access_key", "aws_session_token", "private key-----"} {
		if strings.Contains(lower, mark) {
			return true
		}
	}
	return false
}
