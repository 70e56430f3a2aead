// Command anybridge runs the bridge and talks to a running one. See
// "anybridge help".
package main

import "os"

func main() {
	collectSeldom()
	os.Exit(run(os.Args[1:], cli{in: os.Stdin, out: os.Stdout, err: os.Stderr, lookupEnv: os.LookupEnv}))
}
