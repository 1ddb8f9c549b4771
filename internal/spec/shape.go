package spec

import (
	"sync"
	"time"
)

// form is the outer form of a value.
type form int

const (
	object form = iota // fixed fields
	list               // elements of one shape
	dict               // free keys, text values
	text
	whole // a whole number
	truth // true or false
	span  // a duration
	choice
)

// noun names the form in messages, with its article and an example.
func (f form) noun() string {
	switch f {
	case object:
		return "a mapping of fields"
	case list:
		return "a list"
	case dict:
		return "a mapping of names to texts"
	case text:
		return "text"
	case whole:
		return "a whole number"
	case truth:
		return "true or false"
	case span:
		return "a duration such as 30s"
	default:
		return "one word"
	}
}

// shape is what a value may look like. The tree of shapes is the one source for
// the decoder, the JSON Schema, the printer and the guide.
type shape struct {
	form form
	// name is the shape's title; objects only.
	name string
	doc  string

	fields []field
	groups []group

	// elem is the shape of a list's elements.
	elem *shape
	// key is the field by which the elements of a list of objects are told apart.
	key string
	// unique says that no element of a list of texts may come twice.
	unique bool

	choices []option

	// min and max bound numbers; for durations in nanoseconds, for lists and
	// dicts the count of elements. max 0 means no bound.
	min, max int64
	// format checks a text; keyFormat checks a dict's keys.
	format, keyFormat *format
}

// field is one field of an object.
type field struct {
	name     string
	doc      string
	shape    *shape
	required bool
	// def is the default as JSON, why its reason.
	def, why string
	example  string
}

// group is a set of fields of which at most one may be set, or exactly one.
type group struct {
	names   []string
	exactly bool
}

// option is one word of a choice.
type option struct{ word, doc string }

// field returns the field called name, or nil.
func (s *shape) field(name string) *field {
	for i := range s.fields {
		if s.fields[i].name == name {
			return &s.fields[i]
		}
	}
	return nil
}

func (s *shape) fieldNames() []string {
	names := make([]string, len(s.fields))
	for i, f := range s.fields {
		names[i] = f.name
	}
	return names
}

func (s *shape) words() []string {
	words := make([]string, len(s.choices))
	for i, o := range s.choices {
		words[i] = o.word
	}
	return words
}

// shapeOf returns the shape of a whole document of kind k.
func shapeOf(k Kind) *shape { return shapes()[k] }

var shapes = sync.OnceValue(func() map[Kind]*shape {
	return map[Kind]*shape{
		KindServer: document(KindServer, "What must stay alive: its identity, how to start it, how to tell that it lives, and what may be done about it.",
			serverShape(), field{
				name: "labels", doc: "Free labels for selectors and for `placement.apart`.", example: "{app: web}",
				shape: &shape{form: dict, max: 64, keyFormat: labelKey(), format: labelValue()},
			}),
		KindSite: document(KindSite, "A node in the tree of failure domains: region, zone, outpost, rack or host.",
			siteShape()),
		KindPolicy: document(KindPolicy, "Fills what servers leave out. The one called `default` fills every server and holds the guards of the whole fleet.",
			policyShape()),
	}
})

// document wraps a spec into the header that every kind shares.
func document(k Kind, doc string, spec *shape, meta ...field) *shape {
	name := field{
		name: "name", doc: "The name; it never changes.", required: true, example: "web-1",
		shape: &shape{form: text, format: dnsLabel()},
	}
	return &shape{form: object, name: string(k), doc: doc, fields: []field{
		{
			name: "apiVersion", doc: "The version of the file format.", required: true, example: APIVersion,
			shape: &shape{form: choice, choices: []option{{APIVersion, "the only version so far"}}},
		},
		{
			name: "kind", doc: "What the document declares.", required: true, example: string(k),
			shape: &shape{form: choice, choices: []option{{string(k), doc}}},
		},
		{
			name: "metadata", doc: "The name, and labels where there are any.", required: true, example: "{name: web-1}",
			shape: &shape{form: object, name: string(k) + "Metadata", doc: "The name, and labels where there are any.", fields: append([]field{name}, meta...)},
		},
		{name: "spec", doc: "The declared intent.", required: true, shape: spec},
	}}
}

func duration(min, max time.Duration) *shape {
	return &shape{form: span, min: int64(min), max: int64(max)}
}

func number(min, max int64) *shape { return &shape{form: whole, min: min, max: max} }

func words(doc string, options ...option) *shape {
	return &shape{form: choice, doc: doc, choices: options}
}
