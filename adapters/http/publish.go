package rest

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/anybridge/anybridge/core"
	"github.com/anybridge/anybridge/engine"
)

// publish serves POST /publish/TOPIC/. A 200 says that the backend has accepted the
// event and that every delivery owed to a subscription here is in the engine's
// store, as safe as engine.durability promises: each is made at least once, also
// after a restart. After an error the backend may have the event; the same request
// with the same Idempotency-Key hands it to the backend again, while subscriptions
// here know it by its webhook-id. Without a key a request that is repeated is
// another event.
func (f *Frontend) publish(x *exchange) error {
	if err := x.bearer(); err != nil {
		return err
	}
	key, err := x.idempotencyKey()
	if err != nil {
		return err
	}
	body, err := x.body()
	if err != nil {
		return err
	}
	req, err := decodePublish(body, f.limits.MaxDepth)
	if err != nil {
		return x.hint(err)
	}
	if err := x.identify(req.token); err != nil {
		return err
	}
	topic, err := core.ParseAddress(x.name, f.o.Bridge.DefaultBackend())
	if err != nil {
		return err
	}
	if err := x.may(core.VerbPublish, topic); err != nil {
		return err
	}
	e := &core.Event{
		Topic: topic, Payload: req.Payload, Details: x.publisher(),
		Origin: x.token.Name, ExcludeMe: req.excludeMe, Options: req.options,
	}
	if key == "" {
		ctx, cancel := f.requestContext(x)
		defer cancel()
		if err := f.o.Bridge.Publish(ctx, e); err != nil {
			return callError(ctx, err, f.limits.Timeout)
		}
		return x.replyID(http.StatusOK, e.ID)
	}
	return x.once(keyed{
		key: key, prefix: "evt", fingerprint: x.fingerprint(topic, body, req.token), unknown: mayBePublished,
		work: func(ctx context.Context, c *engine.Claim) (int, error) {
			e.ID = c.ID
			if err := f.o.Bridge.Publish(ctx, e); err != nil {
				return 0, err
			}
			x.putID(e.ID)
			return http.StatusOK, nil
		},
	})
}

// publisher is what subscribers of the bridge are told of who published.
func (x *exchange) publisher() json.RawMessage {
	details := core.AppendString([]byte(`{"publisher_token":`), x.token.Name)
	return append(details, '}')
}
