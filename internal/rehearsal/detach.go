package rehearsal

import "reflect"

// detach copies a request or an answer whole. Handlers point into the world
// where they build an answer, and keep what a request points to: neither side may
// see the other change later. What is behind an interface (a body) stays what it is.
func detach[T any](v T) T { return detached(reflect.ValueOf(&v).Elem()).Interface().(T) }

func detached(v reflect.Value) reflect.Value {
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			return v
		}
		to := reflect.New(v.Type().Elem())
		to.Elem().Set(detached(v.Elem()))
		return to
	case reflect.Slice:
		if v.IsNil() {
			return v
		}
		to := reflect.MakeSlice(v.Type(), v.Len(), v.Len())
		reflect.Copy(to, v)
		if plain(v.Type().Elem()) {
			return to
		}
		for i := range v.Len() {
			to.Index(i).Set(detached(v.Index(i)))
		}
		return to
	case reflect.Map:
		if v.IsNil() {
			return v
		}
		to := reflect.MakeMapWithSize(v.Type(), v.Len())
		for k, e := range v.Seq2() {
			to.SetMapIndex(k, detached(e))
		}
		return to
	case reflect.Struct:
		to := reflect.New(v.Type()).Elem()
		to.Set(v) // what is not exported (a time, the result's metadata) is a value
		for i := range v.NumField() {
			if to.Field(i).CanSet() {
				to.Field(i).Set(detached(v.Field(i)))
			}
		}
		return to
	}
	return v
}

// plain: a copy of the value shares nothing.
func plain(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Map, reflect.Struct, reflect.Interface:
		return false
	}
	return true
}
