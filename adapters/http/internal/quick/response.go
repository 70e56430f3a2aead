package quick

import (
	"bytes"
	"net/http"
	"strconv"
	"time"
)

// response is an answer, written when it is whole. It implements http.ResponseWriter, and
// what http.ResponseController asks for: the deadlines of a request are conn's.
type response struct {
	header http.Header
	status int
	body   bytes.Buffer
	out    bytes.Buffer

	date   []byte
	dateAt int64 // the second of date
}

// keepBuffer is how large a buffer is kept for the next answer.
const keepBuffer = 64 << 10

func (w *response) reset() {
	clear(w.header)
	w.status = 0
	for _, b := range []*bytes.Buffer{&w.body, &w.out} {
		b.Reset()
		if b.Cap() > keepBuffer {
			*b = bytes.Buffer{}
		}
	}
}

// Header implements http.ResponseWriter.
func (w *response) Header() http.Header { return w.header }

// WriteHeader implements http.ResponseWriter.
func (w *response) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
}

// Write implements http.ResponseWriter.
func (w *response) Write(p []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	return w.body.Write(p)
}

// SetReadDeadline is for http.ResponseController: there is nothing to read any more.
func (w *response) SetReadDeadline(time.Time) error { return nil }

// SetWriteDeadline is for http.ResponseController: the time to write begins with writing.
func (w *response) SetWriteDeadline(time.Time) error { return nil }

// bytes is the answer as it goes out.
func (w *response) bytes() []byte {
	w.WriteHeader(http.StatusOK)
	out := &w.out
	out.WriteString("HTTP/1.1 ")
	out.WriteString(strconv.Itoa(w.status))
	out.WriteByte(' ')
	out.WriteString(http.StatusText(w.status))
	out.WriteString("\r\nDate: ")
	out.Write(w.now())
	out.WriteString("\r\n")
	if w.status != http.StatusNoContent && w.header["Content-Length"] == nil {
		out.WriteString("Content-Length: ")
		out.WriteString(strconv.Itoa(w.body.Len()))
		out.WriteString("\r\n")
	}
	_ = w.header.Write(out) // which lets no value end its line
	out.WriteString("\r\n")
	out.Write(w.body.Bytes())
	return out.Bytes()
}

func (w *response) now() []byte {
	now := time.Now()
	if at := now.Unix(); at != w.dateAt {
		w.date, w.dateAt = now.UTC().AppendFormat(w.date[:0], http.TimeFormat), at
	}
	return w.date
}
