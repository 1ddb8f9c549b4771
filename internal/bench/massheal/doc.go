// Package massheal measures the recovery of a whole zone under a cloud's quotas,
// in virtual time: how near our scheduler of tokens comes to the least time that
// the quotas allow, how many of its calls are refused, and what workers that only
// back off make of the same platform. Nothing here makes a real call.
package massheal
