// Package tests drives the whole product from outside: the anybridge program, its
// REST API and callbacks on one side, and WAMP clients that others wrote on the
// other.
//
// The clients are programs below python and node, which speak lines of JSON on their
// standard input and output, and nexus' own client in this process.
package tests
