package wire

import (
	"errors"
	"sync"
	"sync/atomic"

	"github.com/gammazero/nexus/v3/wamp"
)

// maxFrames bounds what a payload caches: three serialisations on two transports
// leave room for ten subscriptions that match one event.
const maxFrames = 64

// FrameKey tells the encodings of messages that share a payload from each other.
// Whatever changes the bytes must be in it.
type FrameKey struct {
	Framing                   uint8 // the transport's, numbered by the caller
	Serialization             Serialization
	Subscription, Publication wamp.ID
	Variant                   uint8 // what else differs, e.g. the details; numbered by the caller
}

// frames is a list that grows by replacement, so that readers need no lock.
type frames struct {
	list atomic.Pointer[[]*frame]
}

type frame struct {
	key   FrameKey
	once  sync.Once
	bytes []byte
	err   error
}

var errUnbuilt = errors.New("build frame: no result")

// Frame returns the bytes cached under k. The first caller for k has build make
// them, others for k wait for it; an error is cached as well. Hits take no lock.
// Once the payload holds 64 frames, new keys are built and not cached. build must
// not call Frame with the same key, and nobody may change the bytes.
func (p *Payload) Frame(k FrameKey, build func() ([]byte, error)) ([]byte, error) {
	f := p.frames.entry(k)
	if f == nil {
		return build()
	}
	f.once.Do(func() {
		f.err = errUnbuilt // stays if build panics
		f.bytes, f.err = build()
	})
	return f.bytes, f.err
}

// entry finds or adds the frame of k; nil says that there is no room.
func (fs *frames) entry(k FrameKey) *frame {
	for {
		old := fs.list.Load()
		var list []*frame
		if old != nil {
			list = *old
		}
		for _, f := range list {
			if f.key == k {
				return f
			}
		}
		if len(list) >= maxFrames {
			return nil
		}
		grown := make([]*frame, len(list)+1)
		copy(grown, list)
		f := &frame{key: k}
		grown[len(list)] = f
		if fs.list.CompareAndSwap(old, &grown) {
			return f
		}
	}
}
