// Package tests drives the whole product from outside: the anybridge program, its
// REST API and callbacks on one side, and clients that others wrote on the other.
//
// WAMP clients are programs below python and node, which speak lines of JSON on their
// standard input and output, and nexus' own client in this process. The servers of other
// systems are real ones, started by backends/redis/redistest and so on; their clients are
// redis-cli, a plain socket for IRC, and slixmpp.
package tests
