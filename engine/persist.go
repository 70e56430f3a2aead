package engine

import (
	"context"
	"errors"
	"time"

	"github.com/anybridge/anybridge/engine/internal/store"
)

// retryPause is the pause before a write that failed is tried again.
const retryPause = 200 * time.Millisecond

// persist writes a message and tries again, as long as limit and ctx allow, when
// the store is away or does not answer. The message needs an ID where it must not
// be there twice. A full store, a conflict, or a message that is too large, is an error
// at once.
func persist(ctx context.Context, s *store.Store, p store.Put, limit time.Duration) (seq uint64, err error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for {
		seq, err = s.PutWait(ctx, p)
		if err == nil || errors.Is(err, store.ErrFull) || errors.Is(err, store.ErrConflict) || errors.Is(err, store.ErrTooLarge) || ctx.Err() != nil {
			return seq, err
		}
		select {
		case <-time.After(retryPause):
		case <-ctx.Done():
			return 0, err
		}
	}
}
