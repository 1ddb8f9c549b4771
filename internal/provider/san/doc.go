// Package san is what providers share of servers whose volumes are LUNs on SAN arrays:
// which arrays the sites declare, what was last seen of each server there, and the steps
// on a LUN. It knows no platform: who runs the instance, and how it is told where to log
// in, is the provider's part.
package san
