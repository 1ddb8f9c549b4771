package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// patch is one planted bug: a change of the product's source that a programmer
// could make by mistake.
type patch struct {
	Name string
	// Breaks lists the promises of which the bug must be seen to break one, the
	// one that it is planted for first.
	Breaks []string
	// Finder is "seeds", or the arguments of go test for what the simulated world
	// cannot show.
	Finder string
	// Story is what the mistake is.
	Story string
	files []change
}

// change is what a patch does to one file.
type change struct {
	path  string
	hunks []hunk
}

// hunk replaces one piece of text by another.
type hunk struct{ before, after string }

// bySeeds is the finder of all that the simulated world can show.
const bySeeds = "seeds"

var (
	promise = regexp.MustCompile(`^(S([1-9]|1[0-6])|L[1-5])$`)
	product = regexp.MustCompile(`^internal/(core/[a-z]+|controller|provider|provider/sim|provider/onprem|array|audit|store|store/mem|enrol|beat|agent|agent/[a-z]+|api)/[a-z_0-9]+\.go$`)
)

// parsePatch reads a patch: lines "# key: value" (breaks, finder), then "# " lines
// that tell the mistake, then a unified diff. The numbers of its lines are not
// used: hunks are found by their content, so that they survive edits nearby.
func parsePatch(name, text string) (patch, error) {
	p := patch{Name: name, Finder: bySeeds}
	head, diff, ok := strings.Cut(text, "\n--- a/")
	if !ok {
		return p, fmt.Errorf("%s: it holds no diff", name)
	}
	var story []string
	for _, line := range strings.Split(head, "\n") {
		said, ok := strings.CutPrefix(line, "# ")
		if !ok {
			return p, fmt.Errorf("%s: line %q before the diff is no comment", name, line)
		}
		switch key, value, _ := strings.Cut(said, ": "); key {
		case "breaks":
			p.Breaks = strings.Fields(value)
		case "finder":
			p.Finder = value
		default:
			story = append(story, said)
		}
	}
	p.Story = strings.Join(story, " ")
	for _, part := range strings.Split(diff, "\n--- a/") {
		c, err := parseChange(part)
		if err != nil {
			return p, fmt.Errorf("%s: %w", name, err)
		}
		p.files = append(p.files, c)
	}
	return p, p.check()
}

// check refuses what tells nothing, or changes what is not the product.
func (p patch) check() error {
	if len(p.Breaks) == 0 || p.Story == "" {
		return fmt.Errorf("%s: it must say what it breaks, and tell the mistake", p.Name)
	}
	for _, b := range p.Breaks {
		if !promise.MatchString(b) {
			return fmt.Errorf("%s: %q is no promise", p.Name, b)
		}
	}
	if p.Finder != bySeeds && !strings.HasPrefix(p.Finder, "test ./") {
		return fmt.Errorf("%s: finder %q: there are seeds, and test ./PACKAGE -run NAME", p.Name, p.Finder)
	}
	for _, c := range p.files {
		if !product.MatchString(c.path) || strings.HasSuffix(c.path, "_test.go") {
			return fmt.Errorf("%s: %s is not the product's source", p.Name, c.path)
		}
	}
	return nil
}

func parseChange(text string) (change, error) {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	c := change{path: lines[0]}
	if len(lines) < 3 || lines[1] != "+++ b/"+c.path {
		return c, fmt.Errorf("%s: the two names of its diff differ", c.path)
	}
	for _, line := range lines[2:] {
		if strings.HasPrefix(line, "@@") {
			c.hunks = append(c.hunks, hunk{})
			continue
		}
		if len(c.hunks) == 0 {
			return c, fmt.Errorf("%s: line %q is in no hunk", c.path, line)
		}
		h, body := &c.hunks[len(c.hunks)-1], ""
		if line != "" {
			body = line[1:]
		}
		switch {
		case line == "" || line[0] == ' ':
			h.before, h.after = h.before+body+"\n", h.after+body+"\n"
		case line[0] == '-':
			h.before += body + "\n"
		case line[0] == '+':
			h.after += body + "\n"
		default:
			return c, fmt.Errorf("%s: line %q is in no diff", c.path, line)
		}
	}
	return c, nil
}

var (
	errGone      = errors.New("its lines are there no more: write the patch anew")
	errAmbiguous = errors.New("its lines are there more than once: give it more context")
)

// apply returns the text with the hunk made.
func (h hunk) apply(text string) (string, error) {
	lines := "\n" + text
	at := strings.Index(lines, "\n"+h.before)
	switch {
	case at < 0:
		return "", errGone
	case strings.Contains(lines[at+1:], "\n"+h.before):
		return "", errAmbiguous
	}
	return text[:at] + h.after + text[at+len(h.before):], nil
}

// tree is the source of the project with what was patched in it.
type tree struct {
	root    string
	patched map[string]string // by path below root
}

func (t tree) read(path string) (string, error) {
	if text, ok := t.patched[path]; ok {
		return text, nil
	}
	text, err := os.ReadFile(filepath.Join(t.root, path))
	return string(text), err
}

// apply makes the hunk in the named file, or in the one file of that package to which
// its lines have moved.
func (t tree) apply(path string, h hunk) error {
	others, err := filepath.Glob(filepath.Join(t.root, filepath.Dir(path), "*.go"))
	if err != nil {
		return err
	}
	paths := []string{path}
	for _, file := range others {
		other := filepath.Join(filepath.Dir(path), filepath.Base(file))
		if other != path && !strings.HasSuffix(other, "_test.go") {
			paths = append(paths, other)
		}
	}
	for _, p := range paths {
		text, err := t.read(p)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		after, err := h.apply(text)
		if errors.Is(err, errGone) {
			continue
		}
		if err != nil {
			return err
		}
		t.patched[p] = after
		return nil
	}
	return errGone
}

// patched returns the files that the patch changes, by path below root.
func (p patch) patched(root string) (map[string]string, error) {
	t := tree{root: root, patched: map[string]string{}}
	for _, c := range p.files {
		for n, h := range c.hunks {
			if h.before == h.after {
				return nil, fmt.Errorf("%s: hunk %d of %s changes nothing", p.Name, n+1, c.path)
			}
			if err := t.apply(c.path, h); err != nil {
				return nil, fmt.Errorf("%s: %s, hunk %d: %w", p.Name, c.path, n+1, err)
			}
		}
	}
	return t.patched, nil
}

// patchesIn is where the planted bugs lie, below the root of the project.
const patchesIn = "testdata/planted"

// readPatches reads all planted bugs, by name.
func readPatches(root string) ([]patch, error) {
	files, err := filepath.Glob(filepath.Join(root, patchesIn, "*.patch"))
	if err != nil {
		return nil, err
	}
	slices.Sort(files)
	var out []patch
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		p, err := parsePatch(strings.TrimSuffix(filepath.Base(file), ".patch"), string(text))
		if err != nil {
			return nil, err
		}
		out = append(out, p)
	}
	return out, nil
}
