package etcd

import (
	"context"
	"fmt"
	"log/slog"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// bridge hands etcd's log entries to slog.
type bridge struct {
	zapcore.LevelEnabler
	logger *slog.Logger
	fields []zapcore.Field
}

// newZap returns a zap logger that writes to logger. onFatal, if not nil, is what
// a Fatal entry does instead of ending the process.
func newZap(logger *slog.Logger, level zapcore.LevelEnabler, onFatal zapcore.CheckWriteHook) *zap.Logger {
	var opts []zap.Option
	if onFatal != nil {
		opts = append(opts, zap.WithFatalHook(onFatal))
	}
	return zap.New(bridge{LevelEnabler: level, logger: logger}, opts...)
}

// With implements zapcore.Core.
func (b bridge) With(fields []zapcore.Field) zapcore.Core {
	b.fields = append(b.fields[:len(b.fields):len(b.fields)], fields...)
	return b
}

// Check implements zapcore.Core.
func (b bridge) Check(entry zapcore.Entry, checked *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if b.Enabled(entry.Level) {
		return checked.AddCore(entry, b)
	}
	return checked
}

// startNoise is what etcd says at every first start of a member, at a high level
// and without any consequence: it tries once too early to note its version.
func startNoise(message string) bool {
	return message == "Failed to detect schema version" || message == "failed to update storage version"
}

// Write implements zapcore.Core.
func (b bridge) Write(entry zapcore.Entry, fields []zapcore.Field) error {
	if startNoise(entry.Message) {
		return nil
	}
	level := slog.LevelError
	switch {
	case entry.Level < zapcore.WarnLevel:
		level = slog.LevelInfo
	case entry.Level == zapcore.WarnLevel:
		level = slog.LevelWarn
	}
	attrs := []slog.Attr{slog.String("engine", "etcd")}
	values := encode(b.fields, fields)
	for _, list := range [][]zapcore.Field{b.fields, fields} {
		for _, f := range list {
			if v, ok := values[f.Key]; ok {
				attrs = append(attrs, slog.Any(f.Key, v))
			}
		}
	}
	b.logger.LogAttrs(context.Background(), level, entry.Message, attrs...)
	return nil
}

// Sync implements zapcore.Core.
func (bridge) Sync() error { return nil }

func encode(lists ...[]zapcore.Field) map[string]any {
	encoder := zapcore.NewMapObjectEncoder()
	for _, list := range lists {
		for _, f := range list {
			f.AddTo(encoder)
		}
	}
	return encoder.Fields
}

// fatalPanics makes etcd's Fatal a panic. While the member starts, startMember
// turns it into an error. Later nothing can: the write-ahead log or the database
// could not be written, so the process must not go on, and a panic says why where
// os.Exit would not.
type fatalPanics struct{}

// OnWrite implements zapcore.CheckWriteHook.
func (fatalPanics) OnWrite(checked *zapcore.CheckedEntry, fields []zapcore.Field) {
	message := checked.Message
	if reason, ok := encode(fields)["error"]; ok {
		message = fmt.Sprintf("%s: %v", message, reason)
	}
	panic(message)
}
