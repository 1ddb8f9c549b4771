package fakeaws

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// form reads the parameters of a query request.
type form struct {
	values url.Values
	prefix string
}

func (f form) get(key string) string { return f.values.Get(f.prefix + key) }

func (f form) has(key string) bool {
	return f.values.Has(f.prefix + key)
}

func (f form) bool(key string) bool { return f.get(key) == "true" }

func (f form) int(key string, otherwise int) int {
	n, err := strconv.Atoi(f.get(key))
	if err != nil {
		return otherwise
	}
	return n
}

// list reads Key.1, Key.2 …
func (f form) list(key string) []string {
	var out []string
	for n := 1; ; n++ {
		k := fmt.Sprintf("%s.%d", key, n)
		if !f.has(k) {
			return out
		}
		out = append(out, f.get(k))
	}
}

// subs are the structures Key.1.*, Key.2.* …
func (f form) subs(key string) []form {
	var out []form
	for n := 1; ; n++ {
		p := fmt.Sprintf("%s%s.%d.", f.prefix, key, n)
		found := false
		for k := range f.values {
			found = found || strings.HasPrefix(k, p)
		}
		if !found {
			return out
		}
		out = append(out, form{values: f.values, prefix: p})
	}
}

// sub is the structure Key.*, and whether there is any of it.
func (f form) sub(key string) (form, bool) {
	p := f.prefix + key + "."
	for k := range f.values {
		if strings.HasPrefix(k, p) {
			return form{values: f.values, prefix: p}, true
		}
	}
	return form{values: f.values, prefix: p}, false
}

// peekList and peekInt look without reading.
func (f form) peekList(key string) []string {
	var out []string
	for n := 1; ; n++ {
		k := fmt.Sprintf("%s.%d", key, n)
		if !f.values.Has(k) {
			return out
		}
		out = append(out, f.values.Get(k))
	}
}

func (f form) peekInt(key string, otherwise int) int {
	n, err := strconv.Atoi(f.values.Get(key))
	if err != nil {
		return otherwise
	}
	return n
}

// filters are the describe filters by name.
func (f form) filters() map[string][]string {
	out := map[string][]string{}
	for _, s := range f.subs("Filter") {
		out[s.get("Name")] = s.list("Value")
	}
	return out
}

// keep reports whether a value passes a filter, with * as wildcard.
func keep(filters map[string][]string, name string, values ...string) bool {
	want, asked := filters[name]
	if !asked {
		return true
	}
	for _, w := range want {
		for _, v := range values {
			if match(w, v) {
				return true
			}
		}
	}
	return false
}

func match(pattern, s string) bool {
	head, tail, wild := strings.Cut(pattern, "*")
	if !wild {
		return pattern == s
	}
	return strings.HasPrefix(s, head) && (tail == "" || strings.HasSuffix(s, tail))
}

// known refuses filters that this endpoint does not have: one that is ignored
// would show more than was asked for. "tag:*" stands for all tags.
func known(filters map[string][]string, names ...string) error {
	for name := range filters {
		if !slices.Contains(names, name) && !(strings.HasPrefix(name, "tag:") && slices.Contains(names, "tag:*")) {
			return &Fault{Code: "InvalidParameterValue", Message: "The filter '" + name + "' is invalid"}
		}
	}
	return nil
}

// keepTags applies the tag filters.
func keepTags(filters map[string][]string, tags map[string]string) bool {
	for name := range filters {
		key, is := strings.CutPrefix(name, "tag:")
		if !is {
			continue
		}
		v, has := tags[key]
		if !has || !keep(filters, name, v) {
			return false
		}
	}
	if want, asked := filters["tag-key"]; asked {
		return slices.ContainsFunc(want, func(k string) bool { _, has := tags[k]; return has })
	}
	return true
}

// page cuts a list by MaxResults and NextToken. A token is the offset.
func page[T any](f form, all []T, most int) ([]T, string, error) {
	size := f.int("MaxResults", most)
	from := f.int("NextToken", 0)
	if from < 0 || from > len(all) {
		return nil, "", &Fault{Code: "InvalidNextToken", Message: "the token is not one of ours"}
	}
	if len(all)-from <= size {
		return all[from:], "", nil
	}
	return all[from : from+size], strconv.Itoa(from + size), nil
}
