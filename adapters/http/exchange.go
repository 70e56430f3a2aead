package rest

import (
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/anybridge/anybridge/core"
)

// exchange is one request being answered. It belongs to one goroutine and is
// reused afterwards.
type exchange struct {
	f     *Frontend
	w     http.ResponseWriter
	r     *http.Request
	start time.Time
	route *route
	name  string // from the path, decoded

	token     *core.Token // who asks, once that is known
	text      string      // what was presented
	tokenGate *tokenGate
	stranger  stranger

	out    []byte // the body of the answer
	status int    // what was answered; 0 = nothing yet
}

func (x *exchange) owner() string {
	if x.token == nil {
		return ""
	}
	return x.token.Name
}

// reply sends status and x.out. The write cannot fail in a way that could still be
// told to anybody.
func (x *exchange) reply(status int, contentType string) error {
	x.status = status
	h := x.w.Header()
	if contentType != "" {
		h["Content-Type"] = []string{contentType}
	}
	if status != http.StatusNoContent {
		h["Content-Length"] = []string{strconv.Itoa(len(x.out))}
	}
	if most := x.f.limits.WriteTimeout; len(x.out) > largeReply || x.r.ProtoMajor > 1 || time.Since(x.start) > most/2 {
		// Now, and not while the answer was awaited, the client has to read.
		_ = http.NewResponseController(x.w).SetWriteDeadline(time.Now().Add(most))
	}
	x.w.WriteHeader(status)
	if len(x.out) > 0 {
		_, _ = x.w.Write(x.out)
	}
	return nil
}

// extendHTTP2 lets a request over HTTP/2 wait for its answer: unlike HTTP/1's, its
// write deadline ends it also while nothing is written.
func (x *exchange) extendHTTP2() {
	if lim := &x.f.limits; x.r.ProtoMajor > 1 {
		_ = http.NewResponseController(x.w).SetWriteDeadline(x.start.Add(lim.ReadTimeout + lim.MaxTimeout + lim.WriteTimeout))
	}
}

// largeReply is more than what a connection takes without the client reading.
const largeReply = 32 << 10

const (
	jsonType    = "application/json"
	problemType = "application/problem+json"
)

// body reads the request's body. The slice is fresh: payloads are cut out of it
// and live on.
func (x *exchange) body() ([]byte, error) {
	lim := x.f.limits.MaxBody
	n := x.r.ContentLength
	if n > lim {
		return nil, tooLarge(lim)
	}
	if enc := x.r.Header.Get("Content-Encoding"); enc != "" && !strings.EqualFold(enc, "identity") {
		return nil, core.Errorf(core.InvalidArgument, "Content-Encoding %s: send the body as it is", quote(enc))
	}
	if err := x.strange(); err != nil {
		return nil, err
	}
	const first = smallBody // more is allocated as it arrives
	if n < 0 {
		n = 512
	}
	buf := make([]byte, 0, min(n, first)+1)
	for {
		got, err := x.r.Body.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+got]
		switch {
		case int64(len(buf)) > lim:
			return nil, tooLarge(lim)
		case err == io.EOF:
			if x.r.ProtoMajor == 1 {
				// From here on the server reads ahead to notice when the client hangs
				// up; the deadline for the request to arrive must not look like that.
				_ = http.NewResponseController(x.w).SetReadDeadline(time.Time{})
			}
			return buf, nil
		case err != nil:
			return nil, core.Errorf(core.InvalidArgument, "the body did not arrive whole within %s", x.f.limits.ReadTimeout)
		}
		if len(buf) == cap(buf) {
			buf = append(buf, 0)[:len(buf)]
			if err := x.grow(cap(buf)); err != nil {
				return nil, err
			}
		}
	}
}

func tooLarge(lim int64) error {
	return core.Errorf(core.TooLarge, "the body has more than %d bytes", lim)
}
