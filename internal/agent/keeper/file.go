package keeper

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// The files of an instance directory.
const (
	configName = "instance.json"
	stateName  = "state.json"
	socketName = "keeper.sock"
	appLogName = "app.log"
	// LogName is where an agent sends the keeper's own output.
	LogName = "keeper.log"
)

// ErrDamaged means that a file does not carry what was written to it.
var ErrDamaged = errors.New("file is damaged")

// sealedFile is a small JSON file with a checksum over its content.
type sealedFile struct {
	Sum  string          `json:"sum"`
	Data json.RawMessage `json:"data"`
}

func sum(b []byte) string {
	s := sha256.Sum256(b)
	return hex.EncodeToString(s[:])
}

// WriteFile replaces the file at path by v as checksummed JSON, in one step. With
// durable it survives a power loss once WriteFile has returned; without, it
// survives the death of any process.
func WriteFile(path string, v any, durable bool) error {
	data, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	b, err := json.Marshal(sealedFile{Sum: sum(data), Data: data})
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	f, err := os.OpenFile(path+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(append(b, '\n'))
	if err == nil && durable {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := os.Rename(path+".new", path); err != nil || !durable {
		return err
	}
	d, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// ReadFile reads into v what WriteFile wrote. A missing file is os.ErrNotExist, a
// damaged one ErrDamaged.
func ReadFile(path string, v any) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var f sealedFile
	if err := json.Unmarshal(b, &f); err != nil {
		return fmt.Errorf("%s: %w: %v", path, ErrDamaged, err)
	}
	if sum(f.Data) != f.Sum {
		return fmt.Errorf("%s: %w: checksum does not match", path, ErrDamaged)
	}
	if err := json.Unmarshal(f.Data, v); err != nil {
		return fmt.Errorf("%s: %w: %v", path, ErrDamaged, err)
	}
	return nil
}

// ReadState reads the last status that the keeper of the instance directory has
// put down. It is os.ErrNotExist if no keeper ever came to work there.
func ReadState(dir string) (Status, error) {
	var st Status
	err := ReadFile(filepath.Join(dir, stateName), &st)
	return st, err
}

// WriteState replaces the status of an instance directory whose keeper is gone.
func WriteState(dir string, st Status) error {
	return WriteFile(filepath.Join(dir, stateName), st, true)
}

// ReadConfig reads what WriteConfig wrote.
func ReadConfig(dir string) (Config, error) {
	var c Config
	err := ReadFile(filepath.Join(dir, configName), &c)
	return c, err
}

// WriteConfig prepares an instance directory for its keeper.
func WriteConfig(dir string, c Config) error {
	return WriteFile(filepath.Join(dir, configName), c, false)
}
