package xmpp

import (
	"maps"
	"slices"

	"mellium.im/xmpp/jid"

	"github.com/anybridge/anybridge/backends/xmpp/stream"
)

// onRequest answers what others ask of us.
func (r *running) onRequest(iq *stream.Element) {
	kind := iq.Attr("type")
	if kind != "get" && kind != "set" || len(iq.Children) != 1 || iq.Attr("id") == "" {
		r.send(errorStanza(iq, "bad-request", "modify", ""))
		return
	}
	from, err := jid.Parse(iq.Attr("from"))
	if err != nil {
		from = r.client.JID().Bare()
	}
	query := iq.Children[0]
	switch {
	case kind == "get" && query.Is(nsPing, "ping"):
		r.send(reply(iq, "result"))
	case kind == "get" && query.Is(nsInfo, "query"):
		r.onInfo(from, iq, query)
	case kind == "get" && query.Is(nsItems, "query"):
		r.onListing(from, iq, query)
	case kind == "set" && query.Is(nsCommands, "command"):
		r.onCommand(from, iq, query)
	default:
		r.send(errorStanza(iq, "service-unavailable", "cancel", ""))
	}
}

// mayCall reports whether the configuration lets them execute our commands. We ourselves
// always may: our server vouches for the address.
func (r *running) mayCall(from jid.JID) bool {
	callers := r.cfg().Callers
	return from.Equal(r.client.JID()) || slices.Contains(callers, everybody) ||
		slices.Contains(callers, from.String()) || slices.Contains(callers, from.Bare().String()) ||
		slices.Contains(callers, from.Domain().String())
}

// onInfo tells what we are (XEP-0030).
func (r *running) onInfo(from jid.JID, iq, query *stream.Element) {
	node := query.Attr("node")
	answer := stream.E(nsInfo, "query").Set("node", node)
	identity := func(category, kind, name string) {
		answer.Add(stream.E("", "identity").Set("category", category).Set("type", kind).Set("name", name))
	}
	features := []string{nsInfo, nsCommands, nsForm}
	r.mu.Lock()
	_, isCommand := r.procedures[node]
	r.mu.Unlock()
	switch {
	case node == "":
		identity("client", "bot", "anybridge")
		features = append(features, nsItems, nsPing, nsReceipts, nsJSON)
	case node == nsCommands:
		identity("automation", "command-list", "Commands")
	case isCommand && r.mayCall(from):
		identity("automation", "command-node", node)
	default:
		r.send(errorStanza(iq, "item-not-found", "cancel", ""))
		return
	}
	for _, f := range features {
		answer.Add(stream.E("", "feature").Set("var", f))
	}
	r.send(reply(iq, "result", answer))
}

// onListing lists the commands for those who may execute them.
func (r *running) onListing(from jid.JID, iq, query *stream.Element) {
	node := query.Attr("node")
	answer := stream.E(nsItems, "query").Set("node", node)
	if node == nsCommands && r.mayCall(from) {
		r.mu.Lock()
		names := slices.Sorted(maps.Keys(r.procedures))
		r.mu.Unlock()
		for _, name := range names {
			answer.Add(stream.E("", "item").Set("jid", r.client.JID().String()).Set("node", name).Set("name", name))
		}
	}
	r.send(reply(iq, "result", answer))
}
