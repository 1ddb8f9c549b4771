// Package backup writes a store and its files into one stream and reads it back.
// It knows no engine: what came from an embedded store can go into any other.
//
// The form is a first line with a version, frames, and the SHA-256 of all bytes
// before it. A frame is a kind (one byte) and two byte strings, each after its
// length as a varint:
//
//	'h'  -     Header as JSON   first
//	'r'  key   value            a record of the store
//	'f'  name  content          a file
//	'e'  -     count of records and files, in decimal digits; last
//
// A stream that was cut short, or of which one bit has changed, is refused as a
// whole before anything of it is used.
package backup
