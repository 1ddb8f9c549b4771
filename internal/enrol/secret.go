package enrol

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
)

// Secret loads a secret of that many bytes from the vault; whoever asks first draws it.
func Secret(ctx context.Context, vault Vault, name string, size int) ([]byte, error) {
	data, err := vault.Load(ctx, name)
	if errors.Is(err, ErrAbsent) {
		fresh := make([]byte, size)
		if _, err := rand.Read(fresh); err != nil {
			return nil, err
		}
		if err := vault.Save(ctx, name, fresh); err != nil && !errors.Is(err, ErrExists) {
			return nil, err
		}
		data, err = vault.Load(ctx, name)
	}
	if err != nil {
		return nil, err
	}
	if len(data) != size {
		return nil, fmt.Errorf("vault entry %s has %d bytes", name, len(data))
	}
	return data, nil
}
