package engine

// fifo is a queue that gives its memory back as it shrinks.
type fifo struct {
	head, tail []*delivery // head is taken from its end
}

func (f *fifo) len() int { return len(f.head) + len(f.tail) }

func (f *fifo) push(d *delivery) { f.tail = append(f.tail, d) }

func (f *fifo) unshift(d *delivery) { f.head = append(f.head, d) }

func (f *fifo) shift() *delivery {
	if len(f.head) == 0 {
		f.head = f.tail
		f.tail = nil
		for i, j := 0, len(f.head)-1; i < j; i, j = i+1, j-1 {
			f.head[i], f.head[j] = f.head[j], f.head[i]
		}
	}
	last := len(f.head) - 1
	d := f.head[last]
	f.head[last] = nil
	f.head = f.head[:last]
	if len(f.head) == 0 {
		f.head = nil
	}
	return d
}

// first is what shift would return, or nil.
func (f *fifo) first() *delivery {
	switch {
	case len(f.head) > 0:
		return f.head[len(f.head)-1]
	case len(f.tail) > 0:
		return f.tail[0]
	}
	return nil
}
