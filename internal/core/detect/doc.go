// Package detect turns signals into verdicts. Judge looks at everything that is
// known about a server at one moment; Fold keeps how long each source has said
// what it says. Both are pure: silence is measured against the time handed in.
package detect
