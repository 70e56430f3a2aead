// Package rest is the HTTP side of anybridge, in both directions: Frontend serves
// the REST API with which programs call, publish, register and subscribe, and
// Callbacks sends invocations, events and results to the endpoints that they
// registered.
//
// Payload values cross as raw JSON: a request is walked once, checked, and cut
// into slices; nothing of args and kwargs is decoded or encoded again.
package rest
