package rest

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"errors"
	"io"
	"net/http"
	"strings"
)

// reply is an endpoint's answer, read to its end.
type reply struct {
	status int
	header http.Header
	// framed is the body with one free byte before and after it.
	framed []byte
}

func (r *reply) body() []byte { return r.framed[1 : len(r.framed)-1] }

// gzipSlack is how much longer than what it holds a gzip stream may be: the rest
// is padding that costs time and says nothing.
const gzipSlack = 64 << 10

// readReply reads a response's body to its end, so that the connection can be used
// again: at most limit bytes, before and after decompression. The transport does
// not decompress because it has no bound on what goes in.
func readReply(resp *http.Response, limit int64) ([]byte, error) {
	if !isGzip(resp.Header) {
		if resp.ContentLength > limit {
			return nil, errTooLong
		}
		return readAll(resp.Body, resp.ContentLength, limit)
	}
	in := &io.LimitedReader{R: resp.Body, N: limit + gzipSlack}
	z, err := gzip.NewReader(in)
	if errors.Is(err, io.EOF) { // no body at all
		return []byte{0, 0}, nil
	}
	var body []byte
	if err == nil {
		body, err = readAll(z, -1, limit)
	}
	switch {
	case err != nil && in.N <= 0:
		return nil, errTooLong
	case isCorrupt(err):
		return nil, errGzip
	}
	return body, err
}

func isCorrupt(err error) bool {
	_, corrupt := errors.AsType[flate.CorruptInputError](err)
	return corrupt || errors.Is(err, gzip.ErrHeader) || errors.Is(err, gzip.ErrChecksum)
}

func isGzip(h http.Header) bool {
	coding := h["Content-Encoding"]
	return len(coding) == 1 && (strings.EqualFold(coding[0], "gzip") || strings.EqualFold(coding[0], "x-gzip"))
}

// readAll reads r to its end into a slice with a free byte at both ends. size is
// what is expected, or -1.
func readAll(r io.Reader, size, limit int64) ([]byte, error) {
	if size < 0 {
		size = 512
	}
	buf := make([]byte, 1, min(size, 64<<10)+2)
	for {
		n, err := r.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		switch {
		case int64(len(buf))-1 > limit:
			return nil, errTooLong
		case err == io.EOF:
			if bytes.HasPrefix(buf[1:], []byte("\ufeff")) {
				buf = buf[len("\ufeff"):]
			}
			return append(buf, 0), nil
		case err != nil:
			return nil, err
		}
		if len(buf) == cap(buf) {
			buf = append(buf, 0)[:len(buf)]
		}
	}
}
