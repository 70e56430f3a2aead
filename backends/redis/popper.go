package redis

import (
	"context"
	"strconv"
	"time"
)

// popper takes elements from lists, over a connection that may wait for them.
type popper struct {
	*conn
	id      int64 // of the connection, by which it can be woken; 0 if it may not know
	noMulti bool  // BLMPOP is not there: before Redis 7
}

const popWait = time.Second

func newPopper(ctx context.Context, c *conn) *popper {
	p := &popper{conn: c}
	if reply, err := c.do(ctx, answerTimeout, "CLIENT", "ID"); err == nil {
		p.id, _ = reply.(int64)
	}
	return p
}

// pop waits a while and returns up to n elements of the first list that has any.
// Elements that were too long are left out and counted.
func (p *popper) pop(ctx context.Context, keys []string, n int) (key string, elements [][]byte, tooLong int, err error) {
	wait := strconv.FormatFloat(popWait.Seconds(), 'f', -1, 64)
	var reply any
	if !p.noMulti {
		args := append([]string{"BLMPOP", wait, strconv.Itoa(len(keys))}, keys...)
		reply, err = p.do(ctx, popWait+answerTimeout, append(args, "LEFT", "COUNT", strconv.Itoa(n))...)
		p.noMulti = isReply(err, "ERR unknown command", "NOPERM")
	}
	if p.noMulti {
		reply, err = p.do(ctx, popWait+answerTimeout, append(append([]string{"BLPOP"}, keys...), wait)...)
	}
	if err != nil {
		return "", nil, 0, err
	}
	parts, _ := reply.([]any)
	if len(parts) != 2 {
		return "", nil, 0, nil
	}
	name, _ := parts[0].([]byte)
	list, ok := parts[1].([]any)
	if !ok {
		list = parts[1:]
	}
	for _, v := range list {
		if element, ok := v.([]byte); ok {
			elements = append(elements, element)
		} else {
			tooLong++
		}
	}
	return string(name), elements, tooLong, nil
}
