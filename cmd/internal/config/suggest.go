package config

// nearest returns the name most like s, or "" if none is near: at most a
// third of it differs, and at most three characters.
func nearest(s string, names func(yield func(string) bool)) string {
	best, least := "", min(3, len(s)/3)+1
	for name := range names {
		if d := distance(s, name, least); d < least {
			best, least = name, d
		}
	}
	return best
}

// distance is how many characters must be changed, put in, taken out or
// swapped with their neighbour to make b of a; it is not exact from limit on.
func distance(a, b string, limit int) int {
	if d := len(a) - len(b); d >= limit || -d >= limit {
		return limit
	}
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		least := i
		for j := 1; j <= len(b); j++ {
			change := last[j-1]
			if a[i-1] != b[j-1] {
				change++
			}
			row[j] = min(change, last[j]+1, row[j-1]+1)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
			least = min(least, row[j])
		}
		if least >= limit {
			return limit
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}
