// Package wamp is the WAMP backend: it runs a router of its own (package router) and
// attaches to it inside the process, or joins a realm on somebody else's router
// over the network. Everything about sessions, reconnecting and restoring is in
// package session; here is the configuration and what belongs to several sessions.
package wamp
