// Planted plants bugs in the product, one at a time, and asks whether the simulator
// finds them. Each patch in testdata/planted is a small mistake that a programmer
// could make; it is compiled in by an overlay, so that no line of the product knows
// of it. A bug counts as found if a run of a seed, or of one of the simulator's
// stories, breaks a promise that the patch names, and the same run breaks none without
// the patch.
//
// Its closing line is "planted N found N"; it fails if one was not found.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"sync"
	"time"
)

type options struct {
	seeds   uint64
	within  time.Duration
	clean   uint64
	workers int
	only    string
	first   string
	known   string
	stories string
	write   bool
	root    string
}

func main() {
	var opt options
	hunting := flag.Bool("hunt", false, "run seeds and print those that break a promise; for the patched program")
	flag.Uint64Var(&opt.seeds, "seeds", 10_000, "how many seeds each bug has to be found in")
	flag.DurationVar(&opt.within, "for", 10*time.Minute, "how long each bug is looked for")
	flag.StringVar(&opt.first, "first", "", "with -hunt: the seeds to run first, with commas")
	flag.StringVar(&opt.known, "known", "", "with -hunt: the story to play first")
	flag.StringVar(&opt.stories, "stories", storiesIn, "with -hunt: where the stories are")
	flag.Uint64Var(&opt.clean, "clean", 200, "how many seeds the product itself must pass")
	flag.IntVar(&opt.workers, "workers", runtime.GOMAXPROCS(0), "how many bugs are looked for at once")
	flag.StringVar(&opt.only, "only", "", "look for the bugs whose names match")
	flag.BoolVar(&opt.write, "write", false, "write docs/planted.md; with -only, its other rows stay as they are")
	flag.Parse()
	var err error
	if *hunting {
		err = hunt(os.Stdout, opt)
	} else {
		err = plant(context.Background(), os.Stdout, opt)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func hunt(out io.Writer, opt options) error {
	first, err := unlisted(opt.first)
	if err != nil {
		return err
	}
	h := hunter{seeds: opt.seeds, first: first, known: opt.known, stories: opt.stories, end: time.Now().Add(opt.within), out: json.NewEncoder(out)}
	return h.hunt()
}

var (
	errMissed = errors.New("not all planted bugs were found")
	errDirty  = errors.New("the product itself breaks a promise")
)

func plant(ctx context.Context, out io.Writer, opt options) error {
	root, err := findRoot()
	if err != nil {
		return err
	}
	opt.root = root
	all, err := readPatches(root)
	if err != nil {
		return err
	}
	only, err := regexp.Compile(opt.only)
	if err != nil {
		return err
	}
	base := newBaseline(out, filepath.Join(root, storiesIn))
	dirty := base.first(opt.clean, opt.workers)
	results := make([]result, 0, len(all))
	for _, p := range all {
		if only.MatchString(p.Name) {
			results = append(results, result{patch: p, Others: map[string]int{}})
		}
	}
	doc := filepath.Join(root, "docs/planted.md")
	last, err := os.ReadFile(doc)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	(&field{opt: opt, out: out, base: base, table: string(last)}).search(ctx, results)
	if opt.write {
		left, err := os.ReadFile(filepath.Join(root, patchesIn, leftOut))
		if err != nil {
			return err
		}
		if err := os.WriteFile(doc, []byte(table(rows(all, results, string(last)))+"\n"+string(left)), 0o600); err != nil { //nolint:gosec // the path is this project's own
			return err
		}
	}
	found := 0
	for _, r := range results {
		if r.By != "" {
			found++
		}
	}
	fmt.Fprintf(out, "planted %d found %d\n", len(results), found)
	switch {
	case found < len(results):
		return errMissed
	case dirty > 0:
		return errDirty
	}
	return nil
}

// storiesTake is what all stories take at most, after the seeds.
const storiesTake = 5 * time.Minute

// field is where the bugs are looked for.
type field struct {
	opt  options
	out  io.Writer
	base *baseline
	// table is docs/planted.md as it was last written.
	table string
	// compiler lets one build run at a time, while another bug is looked for.
	compiler sync.Mutex
}

func (f *field) one(ctx context.Context, r *result) error {
	begun := time.Now()
	defer func() { r.Took = time.Since(begun) }()
	dir, err := os.MkdirTemp("", "planted")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	list, err := overlay(f.opt.root, dir, r.patch)
	if err != nil {
		return err
	}
	f.compiler.Lock()
	if r.Finder != bySeeds {
		defer f.compiler.Unlock()
		return r.ask(ctx, f.opt.root, list)
	}
	program, err := buildHunter(ctx, f.opt.root, dir, list)
	f.compiler.Unlock()
	if err != nil {
		return err
	}
	args := []string{
		"-hunt", "-seeds", strconv.FormatUint(f.opt.seeds, 10), "-for", f.opt.within.String(),
		"-first", listed(likely(r.Name, seedsOf(f.table), f.opt.seeds)), "-known", storyOf(f.table, r.Name), "-stories", f.base.stories,
	}
	// A bug may keep a run from ever ending: the hunter's own time ends between two runs.
	ctx, stop := context.WithTimeout(ctx, f.opt.within+storiesTake)
	defer stop()
	return r.chase(ctx, program, args, f.base.clean)
}

// search looks for all of them, the given number at once, and tells each.
func (f *field) search(ctx context.Context, results []result) {
	next := make(chan *result)
	var wg sync.WaitGroup
	for range max(f.opt.workers, 1) {
		wg.Go(func() {
			for r := range next {
				r.Err = f.one(ctx, r)
				fmt.Fprintln(f.out, line(*r))
			}
		})
	}
	for n := range results {
		next <- &results[n]
	}
	close(next)
	wg.Wait()
}
