package store

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
)

// The envelope: one version byte, four bytes of CRC32C (little endian), payload.
const (
	envelopeVersion = 1
	envelopeSize    = 1 + 4
)

// Seal wraps a payload for storage under key. The checksum covers the version,
// the key and the payload, so that a value that turns up under another key, by a
// flipped bit or a misplaced page, is as detectable as a changed one.
func Seal(key string, payload []byte) []byte {
	raw := make([]byte, envelopeSize+len(payload))
	raw[0] = envelopeVersion
	binary.LittleEndian.PutUint32(raw[1:], sum(key, payload))
	copy(raw[envelopeSize:], payload)
	return raw
}

// Open returns the payload that Seal was given, or an error that wraps
// ErrCorrupt and names the key. The result shares memory with raw.
func Open(key string, raw []byte) ([]byte, error) {
	if len(raw) < envelopeSize {
		return nil, fmt.Errorf("key %q: %w: %d bytes are too few for an envelope", key, ErrCorrupt, len(raw))
	}
	if raw[0] != envelopeVersion {
		return nil, fmt.Errorf("key %q: %w: unknown envelope version %d", key, ErrCorrupt, raw[0])
	}
	payload := raw[envelopeSize:]
	if want, got := binary.LittleEndian.Uint32(raw[1:]), sum(key, payload); want != got {
		return nil, fmt.Errorf("key %q: %w: checksum is %08x, stored was %08x", key, ErrCorrupt, got, want)
	}
	return payload, nil
}

// sum frames the key by its length: without that, moving a byte from the end of
// the key to the front of the payload would keep the checksum.
func sum(key string, payload []byte) uint32 {
	table := crc32.MakeTable(crc32.Castagnoli)
	head := binary.AppendUvarint([]byte{envelopeVersion}, uint64(len(key)))
	crc := crc32.Update(0, table, head)
	crc = crc32.Update(crc, table, []byte(key))
	return crc32.Update(crc, table, payload)
}
