package wire

// Validate checks that value is one well-formed value within lim, the whole of it,
// and that every other serialisation can express it. It refuses what the format's
// own specification refuses, invalid UTF-8 in a string, and map keys that are
// neither strings nor integers. The error is an [*Error].
func Validate(s Serialization, value []byte, lim Limits) error {
	p := parser{s: s, b: value, max: lim.depth()}
	if len(value) > lim.size() {
		return tooLarge(s, len(value), lim.size())
	}
	return p.all()
}

// Convert appends value, one value encoded as from, to dst encoded as to. It checks
// value as [Validate] does, within the default depth and without a limit of size;
// on error, an [*Error], dst is returned as it was. A value that passes Validate
// within the default limits converts without error.
//
// With from equal to to the bytes are copied as they are, whitespace included.
// Otherwise nothing is lost unless said here:
//
//   - Integers keep their value at any size. Beyond 64 bits they are bignums (tags
//     2 and 3) in CBOR and digits in a string in MessagePack, which has no type for
//     them (it ends at -2^63 and 2^64-1). A bignum of more than some 16,000 digits, for
//     which no receiver would thank us, crosses between JSON and CBOR as a string:
//     of the digits from JSON, of hexadecimal digits after "0x" or "-0x" from CBOR.
//   - A JSON number without fraction and exponent is an integer (-0 is 0), any other
//     a double, rounded to the nearest (underflow gives zero). One that is too large
//     for a double (1e400) becomes a string of the number as it was written.
//   - Floats of all widths become doubles, and the shortest JSON number that reads
//     back as the same double, always with a fraction or an exponent. The sign of
//     zero is kept. NaN and infinities become null in JSON, which has none.
//   - Byte strings are, in JSON, strings of U+0000 and base64 (WAMP specification,
//     "Binary conversion of JSON Strings"). A JSON string that begins with U+0000
//     but does not go on in canonical base64 is a string like any other. Map keys
//     are never byte strings.
//   - A surrogate without its other half (JSON's "\ud800") becomes U+FFFD.
//   - Map entries keep their order, and duplicates. Integer keys of CBOR and
//     MessagePack become strings of their decimal digits.
//   - CBOR tags other than 2 and 3 are dropped, their content stays; undefined and
//     simple values without a meaning become null. Strings, lists and maps of
//     indefinite length get a definite one.
//   - MessagePack timestamps become strings in RFC 3339, UTC; other extensions, and
//     timestamps outside of the years 0 to 9999, become byte strings of their data.
func Convert(dst []byte, from, to Serialization, value []byte) ([]byte, error) {
	return convert(dst, from, to, value, defaultDepth)
}

func convert(dst []byte, from, to Serialization, value []byte, depth int) ([]byte, error) {
	p := parser{s: from, b: value, max: depth}
	if !to.valid() {
		return dst, &Error{Serialization: to, Reason: "unknown serialization"}
	}
	if from == to {
		if err := p.all(); err != nil {
			return dst, err
		}
		return append(dst, value...), nil
	}
	e := newEncoder(dst, to)
	p.out = &e
	if err := p.all(); err != nil {
		return dst, err
	}
	return e.finish(), nil
}
