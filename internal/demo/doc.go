// Package demo breaks a running fleet for real and shows that it heals: killed
// applications, killed hosts, hosts that are cut off while their servers run on,
// controllers that die in the middle of their work.
//
// What it claims does not rest on the product's word. Clients write to every
// server all the time and remember what was acknowledged; at the end a checker
// that knows neither epochs nor fences reads the volumes' own logs and compares.
package demo
