package rest

import (
	"fmt"
	"io"
	"strings"
	"testing"
)

// Who keeps the bridge reading bodies without saying who it is keeps out others who
// do so, and nobody who says it in the header.
func TestStrangersAreBounded(t *testing.T) {
	f := newFixture(t, setup{limits: Limits{MaxRequests: 2}})
	const start = "POST /call/com.shop.add2/ HTTP/1.1\r\nHost: bridge\r\nContent-Length: 100\r\n\r\n"
	for range 2 {
		if _, err := io.WriteString(f.dial("127.0.0.2"), start); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, func() bool { return f.front.strangers.now.Load() == 2 })
	body := fmt.Sprintf(`{"token": %q, "args": [2, 3]}`, shopToken)
	if status, answer := f.as("", "POST", "/call/com.shop.add2/", body); status != 429 || !strings.Contains(answer, "Authorization: Bearer") {
		t.Errorf("got %d %s", status, answer)
	}
	f.want(200, "POST", "/call/com.shop.add2/", `{"args": [2, 3]}`)
}

func TestLargeBodiesOfStrangersAreBounded(t *testing.T) {
	f := newFixture(t, setup{})
	f.front.strangers.maxBytes = 1000
	body := func(n int) string {
		return fmt.Sprintf(`{"token": %q, "args": [%q]}`, shopToken, strings.Repeat("x", n))
	}
	for n, want := range map[int]int{10: 200, smallBody / 2: 200, 2 * smallBody: 429} {
		if status, answer := f.as("", "POST", "/call/com.shop.echo/", body(n)); status != want {
			t.Errorf("%d bytes: got %d %.300s", n, status, answer)
		}
		f.want(200, "POST", "/call/com.shop.echo/", body(n))
	}
	eventually(t, func() bool { return f.front.strangers.now.Load() == 0 && f.front.strangers.bytes.Load() == 0 })
}
