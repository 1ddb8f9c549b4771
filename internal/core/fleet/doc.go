// Package fleet holds Relight's words as types: servers, instances, sites,
// signals, verdicts, evidence, steps, guards. It is data and nothing else; the
// packages detect, fence and decide do the thinking over it.
//
// See docs/GLOSSARY.md for the meaning of each word.
package fleet
