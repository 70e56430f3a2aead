package redis

import (
	"net"
	"testing"
	"time"
)

// FuzzReply: whatever a server sends, reading it ends, and takes no more memory than
// it has sent or max_message allows.
func FuzzReply(f *testing.F) {
	for _, seed := range []string{
		"+OK\r\n", "-ERR x\r\n", ":1\r\n", "$-1\r\n", "$3\r\nabc\r\n", "$9999999999\r\nabc", "*2\r\n$1\r\na\r\n:2\r\n", "*-1\r\n", "*99999999\r\n",
		"*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n", "$-2\r\n", "\r\n", "+OK\n", "$3\r\nabcd\r\n", "%1\r\n", "*1048576\r\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		client, server := net.Pipe()
		go func() {
			_, _ = server.Write(data)
			_ = server.Close()
		}()
		c := newConn(client, "", 100)
		defer c.Close()
		_ = c.SetReadDeadline(time.Now().Add(time.Minute))
		for {
			reply, err := c.read(0)
			if err != nil {
				return
			}
			if b, ok := reply.([]byte); ok && len(b) > 100 {
				t.Fatalf("%d bytes", len(b))
			}
		}
	})
}

// FuzzDecode: what a message becomes is a valid payload.
func FuzzDecode(f *testing.F) {
	for _, seed := range []string{"hello", `{"args":[1],"kwargs":{},"id":"x"}`, `{"args":null}`, `[1]`, `"a"`, "1,2", "\xff", "", "{", `{"args":[`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, format := range []Format{FormatEnvelope, FormatJSON, FormatText} {
			e, _ := format.decode(data, "replace")
			again := format.encode(&e)
			back, _ := format.decode(again, "replace")
			if format == FormatEnvelope && (back.payload.JSON() != e.payload.JSON() || back.via != e.via) {
				t.Fatalf("%q became %s, and then %s", data, e.payload.JSON(), back.payload.JSON())
			}
		}
	})
}
