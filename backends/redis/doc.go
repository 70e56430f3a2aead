// Package redis is the backend for Redis: topics are channels or streams, and
// procedures are lists of requests. docs/redis.md describes what travels.
package redis
