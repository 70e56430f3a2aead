package engine

import "context"

// maxTroubles bounds what waits to be told; more is counted, and forgotten.
const maxTroubles = 1024

// tell has Notify told of trouble, in order, without waiting for it.
func (e *Engine) tell(t Trouble) {
	select {
	case e.troubles <- t:
	default:
		e.counters.untold.Add(1)
	}
}

// tellTroubles tells Notify until ctx ends.
func (e *Engine) tellTroubles(ctx context.Context) {
	for {
		select {
		case t := <-e.troubles:
			e.o.Notify(t)
		case <-ctx.Done():
			return
		}
	}
}
