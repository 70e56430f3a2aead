package quick

import (
	"bytes"
	"net/http"
	"strconv"
	"strings"
)

// fields are the header fields that a plain request may have, each once. None of them
// changes where the request ends but the one that says its length, and none asks the server
// to do anything.
var fields = func() map[string]int { //nolint:gochecknoglobals // a table
	numbers := map[string]int{}
	for n, name := range names {
		numbers[strings.ToLower(name)] = n
	}
	return numbers
}()

const (
	hostField = iota
	lengthField
	connectionField
)

// names are the fields by their numbers, as net/http writes them.
var names = [...]string{ //nolint:gochecknoglobals // a table
	"Host", "Content-Length", "Connection",
	"Accept", "Accept-Encoding", "Accept-Language", "Authorization", "Baggage", "Cache-Control", "Content-Type",
	"Forwarded", "Idempotency-Key", "Pragma", "Sec-Fetch-Mode", "Traceparent", "Tracestate", "User-Agent", "Via",
	"X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Port", "X-Forwarded-Proto", "X-Real-Ip", "X-Request-Id",
}

// plain is a plain request, used again for the next one of its connection.
type plain struct {
	path   string
	host   string
	length int64
	header http.Header

	values [len(names)][]string // of the last request that had them: mostly the same come again
}

// recognise reads a head, up to its empty line, and reports whether it is that of a plain
// request:
//
//	POST path HTTP/1.1
//
// where path begins with prefix and has letters, digits and -._~:/ alone; with Host,
// Content-Length up to maxBody, and others of the fields above, none of them twice; with
// CRLF at the end of each line, and no character in a value but tabs and visible ASCII.
func (p *plain) recognise(head []byte, prefix string, maxBody int64) bool {
	line, rest, ok := bytes.Cut(head, crlf)
	if !ok || !p.requestLine(line, prefix) {
		return false
	}
	clear(p.header)
	p.host, p.length = "", -1
	for {
		if line, rest, ok = bytes.Cut(rest, crlf); !ok {
			return false
		}
		if len(line) == 0 {
			return len(rest) == 0 && p.host != "" && p.length >= 0 && p.length <= maxBody
		}
		if !p.field(line) {
			return false
		}
	}
}

var crlf = []byte("\r\n") //nolint:gochecknoglobals // a constant

func (p *plain) requestLine(line []byte, prefix string) bool {
	const method, version = "POST ", " HTTP/1.1"
	if !bytes.HasPrefix(line, []byte(method+prefix)) || !bytes.HasSuffix(line, []byte(version)) || len(line) < len(method)+len(prefix)+len(version) {
		return false
	}
	path := line[len(method) : len(line)-len(version)]
	for _, c := range path {
		if !letterOrDigit(c) && !bytes.ContainsRune([]byte("-._~:/"), rune(c)) {
			return false
		}
	}
	if p.path != string(path) {
		p.path = string(path)
	}
	return true
}

func letterOrDigit(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}

func (p *plain) field(line []byte) bool {
	name, value, ok := bytes.Cut(line, []byte(":"))
	if !ok {
		return false
	}
	n, ok := number(name)
	if !ok {
		return false
	}
	value = bytes.Trim(value, " \t")
	for _, c := range value {
		if c != '\t' && (c < ' ' || c > '~') {
			return false
		}
	}
	switch n {
	case hostField:
		return p.hostIs(value)
	case lengthField:
		if p.length >= 0 || !p.lengthIs(value) {
			return false
		}
	case connectionField:
		if !bytes.EqualFold(value, []byte("keep-alive")) {
			return false
		}
	}
	if p.header[names[n]] != nil {
		return false
	}
	if p.values[n] == nil || p.values[n][0] != string(value) {
		p.values[n] = []string{string(value)}
	}
	p.header[names[n]] = p.values[n]
	return true
}

// number finds a field in any case.
func number(name []byte) (int, bool) {
	var lower [32]byte
	if len(name) > len(lower) {
		return 0, false
	}
	for i, c := range name {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		lower[i] = c
	}
	n, ok := fields[string(lower[:len(name)])]
	return n, ok
}

func (p *plain) hostIs(value []byte) bool {
	if p.host != "" || len(value) == 0 {
		return false
	}
	for _, c := range value {
		if !letterOrDigit(c) && !bytes.ContainsRune([]byte("-._:[]"), rune(c)) {
			return false
		}
	}
	if p.values[hostField] == nil || p.values[hostField][0] != string(value) {
		p.values[hostField] = []string{string(value)}
	}
	p.host = p.values[hostField][0]
	return true
}

func (p *plain) lengthIs(value []byte) bool {
	for _, c := range value {
		if c < '0' || c > '9' {
			return false
		}
	}
	n, err := strconv.ParseInt(string(value), 10, 32)
	p.length = n
	return err == nil
}
