package capture

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"relight/internal/core/fleet"
	"relight/internal/spec"
)

// Drift lists what is declared (old) and found otherwise (new): differences in what
// only the account can change. What a person alone decides (mode, rules, types to fall
// back to) is never drift.
func Drift(declared spec.Doc, f Found) ([]spec.Change, error) {
	was, err := specOf(declared)
	if err != nil {
		return nil, err
	}
	if was.Template.EC2 == nil {
		return nil, fmt.Errorf("%s is no server on EC2; try: relight get server %s -o yaml", declared, declared.Name)
	}
	f = f.asWritten(was)
	primary := func(n fleet.Interface) bool { return n.Index == 0 }
	if was.Template.EC2.Launch == nil && !slices.ContainsFunc(was.Identity.Interfaces, primary) {
		// Its launch template has one made for each instance, which is nobody's identity.
		f.Identity.Interfaces = slices.DeleteFunc(f.Identity.Interfaces, primary)
	}
	raw, err := f.Document(0)
	if err != nil {
		return nil, err
	}
	now, err := spec.Parse(spec.File{Name: f.Name, Data: raw}) // in the same notation as what was declared
	if err != nil {
		return nil, err
	}
	changes, err := spec.Diff(declared, now[0])
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(changes, func(c spec.Change) bool { return !captured(c, was.Template.EC2) }), nil
}

func specOf(d spec.Doc) (fleet.ServerSpec, error) {
	var body struct {
		Spec fleet.ServerSpec `json:"spec"`
	}
	if err := json.Unmarshal(d.Raw, &body); err != nil {
		return body.Spec, fmt.Errorf("%s: %w", d, err)
	}
	return body.Spec, nil
}

// captured reports whether a difference is one that a capture speaks of.
func captured(c spec.Change, was *fleet.EC2Template) bool {
	const ec2 = "spec.template.ec2."
	switch {
	case c.Path == ec2+"launch.capture":
		return false
	case strings.HasPrefix(c.Path, "spec.identity.volumes["):
		return strings.HasSuffix(c.Path, "].id") || strings.HasSuffix(c.Path, "].device") // the rest is for the guest
	case strings.HasPrefix(c.Path, "spec.identity.interfaces[") && strings.HasSuffix(c.Path, "].newAddress"):
		return false // a permission, which no instance shows
	case was.Launch == nil && strings.HasPrefix(c.Path, ec2):
		return false // its launch template says it
	case c.Path == ec2+"launch.type":
		return !slices.ContainsFunc(was.Types, func(t string) bool { return fmt.Sprintf("%q", t) == c.New })
	case c.Path == ec2+"autoRecovery":
		return was.AutoRecovery != "" || c.New != fmt.Sprintf("%q", fleet.AutoRecoveryOurs)
	case c.Path == ec2+"subnet" && c.New == "":
		return false // its primary interface says it
	}
	return strings.HasPrefix(c.Path, ec2+"launch") || c.Path == ec2+"subnet" || strings.HasPrefix(c.Path, "spec.identity")
}

// asWritten orders and names what was found as the declared spec does, and leaves out
// what that does not speak of.
func (f Found) asWritten(was fleet.ServerSpec) Found {
	id := was.Identity
	f.Identity.Volumes = arranged(f.Identity.Volumes, id.Volumes, func(v fleet.Volume) string { return v.ID }, func(found *fleet.Volume, old fleet.Volume) {
		found.Name = old.Name
		if old.Device == "" {
			found.Device = ""
		}
	})
	f.Identity.Interfaces = arranged(f.Identity.Interfaces, id.Interfaces, func(n fleet.Interface) string { return n.ID }, func(found *fleet.Interface, old fleet.Interface) {
		if old.MAC == "" && old.Addresses == nil && old.Groups == nil {
			*found = fleet.Interface{ID: found.ID, Index: found.Index} // written by hand
		}
	})
	f.Identity.Addresses = arranged(f.Identity.Addresses, id.Addresses, func(a fleet.Address) string { return a.Allocation }, nil)
	f.Identity.Groups = arranged(f.Identity.Groups, id.Groups, func(g fleet.Group) string { return g.ID }, nil)
	f.Identity.Names = arranged(f.Identity.Names, id.Names, func(n fleet.DNSName) string { return n.Name }, nil)
	return f
}

// arranged puts what was found into the declared order, what is new at the end, and
// lets fit change each that is declared.
func arranged[T any](found, declared []T, key func(T) string, fit func(*T, T)) []T {
	at := map[string]int{}
	for i, d := range declared {
		at[key(d)] = i
	}
	out := slices.Clone(found)
	for i := range out {
		if n, is := at[key(out[i])]; is && fit != nil {
			fit(&out[i], declared[n])
		}
	}
	place := func(v T) int {
		if n, is := at[key(v)]; is {
			return n
		}
		return len(declared)
	}
	slices.SortStableFunc(out, func(a, b T) int { return place(a) - place(b) })
	return out
}

// Renew is the declared document with what was found in place of what had been, as the
// next capture: everything else in it is a person's and stays.
func Renew(declared spec.Doc, f Found) (spec.Doc, error) {
	was, err := specOf(declared)
	if err != nil {
		return spec.Doc{}, err
	}
	number := 1
	if t := was.Template.EC2; t != nil && t.Launch != nil {
		number = t.Launch.Capture + 1
	}
	raw, err := f.asWritten(was).Document(number)
	if err != nil {
		return spec.Doc{}, err
	}
	var old, now map[string]any
	if err := decode(declared.Raw, &old); err != nil {
		return spec.Doc{}, err
	}
	if err := decode(raw, &now); err != nil {
		return spec.Doc{}, err
	}
	part := func(tree map[string]any, names ...string) map[string]any {
		for _, n := range names {
			next, _ := tree[n].(map[string]any)
			if next == nil {
				next = map[string]any{}
				tree[n] = next
			}
			tree = next
		}
		return tree
	}
	keepWritten(part(old, "spec", "identity"), part(now, "spec", "identity"), "volumes")
	keepWritten(part(old, "spec", "identity"), part(now, "spec", "identity"), "interfaces", "newAddress")
	part(old, "spec")["identity"] = part(now, "spec", "identity")
	to, from := part(old, "spec", "template", "ec2"), part(now, "spec", "template", "ec2")
	for _, field := range []string{"launch", "subnet", "autoRecovery"} {
		delete(to, field)
		if v, is := from[field]; is {
			to[field] = v
		}
	}
	// The launch itself is written out now, and would be joined to the template's.
	delete(to, "launchTemplate")
	delete(to, "version")
	if raw, err = json.Marshal(old); err != nil {
		return spec.Doc{}, err
	}
	docs, err := spec.Parse(spec.File{Name: declared.Name + ".json", Data: raw})
	if err != nil {
		return spec.Doc{}, err
	}
	return docs[0], nil
}

// keepWritten takes over what a person wrote of the objects of a kind that are still there,
// such as where the guest mounts a volume: all fields that were not found, or those named.
func keepWritten(old, now map[string]any, kind string, only ...string) {
	written := map[any]map[string]any{}
	was, _ := old[kind].([]any)
	for _, v := range was {
		if m, is := v.(map[string]any); is {
			written[m["id"]] = m
		}
	}
	found, _ := now[kind].([]any)
	for _, v := range found {
		m, _ := v.(map[string]any)
		for field, value := range written[m["id"]] { // order: each is set by itself
			if _, set := m[field]; !set && (len(only) == 0 || slices.Contains(only, field)) {
				m[field] = value
			}
		}
	}
}

func decode(raw []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	return d.Decode(into)
}

// Number is which capture a document is; 0 if it is none.
func Number(d spec.Doc) int {
	s, err := specOf(d)
	if err != nil || s.Template.EC2 == nil || s.Template.EC2.Launch == nil {
		return 0
	}
	return s.Template.EC2.Launch.Capture
}
