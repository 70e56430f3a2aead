// Package pb is the wire between the bridge and its plugin processes, generated
// from backend.proto, which documents the protocol.
package pb

//go:generate protoc --go_out=. --go_opt=paths=source_relative --go-grpc_out=. --go-grpc_opt=paths=source_relative backend.proto
