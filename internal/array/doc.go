// Package array is the port to SAN arrays: LUNs, maps, sessions, reservations.
// Drivers live in the packages below it; arraytest holds the suite that each of
// them passes. What all arrays share is here: the storage fence, the check before
// a map is made, the scan for foreign data, the enrolment probe for reservations.
//
// Each epoch of a server has a map of its own, with its own initiator name and CHAP
// credentials: an array can tell two epochs apart by nothing else.
package array
