package lean

import "strconv"

// ContainsNumber says whether the decimal digits of n stand in b with no other
// digit beside them. It is how a load checks an answer: whatever a bridge wraps
// around the result of a call, the right sum is in it, and a wrong one is not.
func ContainsNumber(b []byte, n int64) bool {
	var room [20]byte
	want := strconv.AppendInt(room[:0], n, 10)
	for i := 0; i+len(want) <= len(b); i++ {
		if b[i] != want[0] || string(b[i:i+len(want)]) != string(want) {
			continue
		}
		before := i > 0 && digit(b[i-1])
		after := i+len(want) < len(b) && digit(b[i+len(want)])
		if !before && !after {
			return true
		}
	}
	return false
}

func digit(c byte) bool { return c >= '0' && c <= '9' }
