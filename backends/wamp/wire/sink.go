package wire

// A sink takes the events of a parser: an [encoder] writes them in another
// serialisation, a [builder] makes Go values of them. Slices are valid only until
// the method returns.
type sink interface {
	null()
	boolean(v bool)
	// integer takes n or, when neg, -1-n: everything from -2^64 to 2^64-1.
	integer(neg bool, n uint64)
	// decimal takes an integer literal that is beyond integer's range.
	decimal(digits []byte)
	float(f float64)
	// text takes valid UTF-8.
	text(s []byte)
	binary(b []byte)

	// openList begins a list of n elements, or of an unknown number when n < 0.
	// The result goes back into closeList, with the number of elements there were.
	openList(n int) (mark int)
	closeList(mark, n int)
	openMap(n int) (mark int)
	closeMap(mark, n int)
	// key takes the key of the map entry whose value comes next.
	key(s []byte)
}
