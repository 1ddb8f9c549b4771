package etcd

import (
	"context"
	"fmt"
)

// FlipBit implements storetest.Flipper by a raw put beside the envelope.
func (s *Store) FlipBit(key string, bit int) error {
	resp, err := s.client.Get(context.Background(), key)
	if err != nil {
		return err
	}
	if len(resp.Kvs) == 0 {
		return fmt.Errorf("key %q is absent", key)
	}
	raw := resp.Kvs[0].Value
	raw[bit/8%len(raw)] ^= 1 << (bit % 8)
	_, err = s.client.Put(context.Background(), key, string(raw))
	return err
}
