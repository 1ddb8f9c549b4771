// Package pace spends the tokens of a platform's quotas: after the loss of a zone
// they, and nothing else, bound how soon the last server is back. A Machine says
// which of the works that wait may go now; Compile orders a fleet with its
// dependencies into waves and foretells when each server is back.
package pace
