// Package simulate drives the real controller, its core, and the rules of the
// agents through a world of its own, in virtual time, on one thread, from one
// seed. The same scenario gives the same trace on any machine.
//
// A Scenario is data: a world, specs, faults. Run plays it and returns what
// happened, with every promise of the project that was broken, found by checkers
// (package oracle) that look at the world and trust no record of the product.
package simulate
