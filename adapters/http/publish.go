package rest

import (
	"net/http"

	"github.com/anybridge/anybridge/core"
)

// publish serves POST /publish/TOPIC/: it answers when the backend has accepted
// the event.
func (f *Frontend) publish(x *exchange) error {
	if err := x.bearer(); err != nil {
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
	e := &core.Event{Topic: topic, Payload: req.Payload, Origin: x.token.Name, ExcludeMe: req.excludeMe, Options: req.options}
	ctx, cancel := f.requestContext(x)
	defer cancel()
	if err := f.o.Bridge.Publish(ctx, e); err != nil {
		return callError(ctx, err, f.limits.Timeout)
	}
	return x.replyID(http.StatusOK, e.ID)
}
