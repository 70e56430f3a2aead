// Package quick answers the requests that come most often without net/http, which would
// take longer for a small one than the bridge does: a plain POST over HTTP/1.1, without
// TLS, on a connection that is kept. What a plain request is, is a narrow grammar (see
// recognise) within what net/http takes, and read in the same way; a fuzz test holds the
// two against each other. A connection on which anything else comes is handed over to
// net/http for good, with what has been read of it.
//
// A handler sees an *http.Request and an http.ResponseWriter. It is not told when its
// client hangs up, so it must be one that does not take long.
package quick
