// Package check holds what a server has written to its LUN against what clients
// were told and against the time at which its old epochs were fenced.
//
// It reads the file behind the LUN and the clients' record. It shares no code with
// the guest that writes, and none with the product.
package check

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
)

// Size is that of a record in bytes. Record n lies in block n modulo the number of
// blocks, the first one is 1.
const Size = 512

// magic begins each record; numbers are big-endian: seq, epoch, a number made of
// the server's name, and the checksum (IEEE) of all that.
const magic = "RELIGHT1"

// errTorn means that a block holds neither a record nor zeros.
var errTorn = errors.New("neither a record nor zeros")

type record struct {
	seq, epoch, server uint64
}

// decode reads a block; a record of zeros has the number 0.
func decode(b []byte) (record, error) {
	if string(b[:8]) != magic {
		for _, c := range b[:Size] {
			if c != 0 {
				return record{}, errTorn
			}
		}
		return record{}, nil
	}
	if binary.BigEndian.Uint32(b[32:]) != crc32.ChecksumIEEE(b[:32]) {
		return record{}, errTorn
	}
	return record{
		seq: binary.BigEndian.Uint64(b[8:]), epoch: binary.BigEndian.Uint64(b[16:]), server: binary.BigEndian.Uint64(b[24:]),
	}, nil
}
