// Planted plants bugs in the product, one at a time, and asks whether the simulator
// finds them. Each patch in testdata/planted is a small mistake that a programmer
// could make; it is compiled in by an overlay, so that no line of the product knows
// of it. A bug counts as found if a run of a seed breaks a promise that the patch
// names, and the same seed breaks none without the patch.
//
// Its closing line is "planted N found N"; it fails if one was not found.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"sync"
	"time"
)

type options struct {
	seeds   uint64
	within  time.Duration
	clean   uint64
	workers int
	only    string
	write   bool
	root    string
}

func main() {
	var opt options
	hunter := flag.Bool("hunt", false, "run seeds and print those that break a promise; for the patched program")
	flag.Uint64Var(&opt.seeds, "seeds", 10_000, "how many seeds each bug has to be found in")
	flag.DurationVar(&opt.within, "for", 4*time.Minute, "how long each bug is looked for")
	flag.Uint64Var(&opt.clean, "clean", 200, "how many seeds the product itself must pass")
	flag.IntVar(&opt.workers, "workers", runtime.GOMAXPROCS(0), "how many bugs are looked for at once")
	flag.StringVar(&opt.only, "only", "", "look for the bugs whose names match")
	flag.BoolVar(&opt.write, "write", false, "write docs/planted.md")
	flag.Parse()
	var err error
	if *hunter {
		err = hunt(os.Stdout, opt.seeds, time.Now().Add(opt.within))
	} else {
		err = plant(context.Background(), os.Stdout, opt)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
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
	if opt.write && opt.only != "" {
		return errors.New("docs/planted.md tells of all planted bugs: -write and -only do not go together")
	}
	base := newBaseline(out)
	dirty := base.first(opt.clean, opt.workers)
	results := make([]result, 0, len(all))
	for _, p := range all {
		if only.MatchString(p.Name) {
			results = append(results, result{patch: p, Others: map[string]int{}})
		}
	}
	(&field{opt: opt, out: out, base: base}).search(ctx, results)
	if opt.write {
		if err := os.WriteFile(filepath.Join(root, "docs/planted.md"), []byte(table(results)), 0o600); err != nil {
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

// field is where the bugs are looked for.
type field struct {
	opt  options
	out  io.Writer
	base *baseline
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
	return r.chase(ctx, program, f.opt, f.base.clean)
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
