package spec

import (
	"fmt"
	"strings"
)

// didYouMean returns the candidate nearest to word, or "" if none is near.
func didYouMean(word string, candidates []string) string {
	if len(word) > 64 {
		return ""
	}
	best, limit := "", 1+len(word)/4
	for _, c := range candidates {
		if strings.EqualFold(word, c) {
			return c
		}
		if abs(len(word)-len(c)) > limit || len(c) > 64 {
			continue
		}
		if d := distance(strings.ToLower(word), strings.ToLower(c)); d <= limit && d < len(c) {
			if best == "" || d < distance(strings.ToLower(word), strings.ToLower(best)) {
				best = c
			}
		}
	}
	if best == "" && len(word) >= 3 {
		best = onlyPrefix(strings.ToLower(word), candidates)
	}
	return best
}

// onlyPrefix returns the one candidate that continues word or that word
// continues, such as auto for automatic; "" if there is none or several.
func onlyPrefix(word string, candidates []string) string {
	found := ""
	for _, c := range candidates {
		low := strings.ToLower(c)
		if len(low) < 3 || !strings.HasPrefix(low, word) && !strings.HasPrefix(word, low) {
			continue
		}
		if found != "" {
			return ""
		}
		found = c
	}
	return found
}

// suggestion is the fix for a word that is none of the candidates.
func suggestion(word string, candidates []string) string {
	if near := didYouMean(word, candidates); near != "" {
		return fmt.Sprintf("did you mean %q?", near)
	}
	switch len(candidates) {
	case 0:
		return ""
	case 1:
		return fmt.Sprintf("write %q", candidates[0])
	}
	if len(candidates) > 16 {
		return fmt.Sprintf("use one of %s and %d more", strings.Join(candidates[:16], ", "), len(candidates)-16)
	}
	return "use one of " + strings.Join(candidates, ", ")
}

// distance is the number of insertions, deletions, replacements and swaps of
// neighbours that turn a into b.
func distance(a, b string) int {
	before, prev := make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row := make([]int, len(b)+1)
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(prev[j]+1, row[j-1]+1, prev[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, prev = prev, row
	}
	return prev[len(b)]
}

func abs(n int) int {
	if n < 0 {
		return -n
	}
	return n
}

// Nearest returns the candidate that somebody may have meant by word, or "" if none
// is near.
func Nearest(word string, candidates []string) string { return didYouMean(word, candidates) }
