package spawn

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/asynkron/protoactor-go/actor"
	"k8s.io/klog/v2"
)

// redacting makes the library log through klog without message contents: of a message, only its type is shown.
func redacting(l klog.Logger) func(*actor.ActorSystem) *slog.Logger {
	return func(*actor.ActorSystem) *slog.Logger { return slog.New(handler{log: l}) }
}

// libraryVerbosity is the klog level of the library's own lines; its errors show always.
const libraryVerbosity = 4

type handler struct {
	log klog.Logger
	kv  []any
}

func (h handler) Enabled(_ context.Context, level slog.Level) bool {
	return level >= slog.LevelError || (level >= slog.LevelInfo && h.log.V(libraryVerbosity).Enabled())
}

func (h handler) Handle(_ context.Context, r slog.Record) error {
	kv := append([]any(nil), h.kv...)
	r.Attrs(func(a slog.Attr) bool {
		kv = append(kv, a.Key, redact(a))
		return true
	})
	if r.Level >= slog.LevelError {
		h.log.Error(nil, r.Message, kv...)
	} else {
		h.log.V(libraryVerbosity).Info(r.Message, kv...)
	}
	return nil
}

func (h handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	kv := append([]any(nil), h.kv...)
	for _, a := range attrs {
		kv = append(kv, a.Key, redact(a))
	}
	return handler{log: h.log, kv: kv}
}

func (h handler) WithGroup(string) slog.Handler { return h }

// redact shows numbers, times, program text and addresses; of everything else the type. A message may itself be a string.
func redact(a slog.Attr) any {
	v := a.Value
	switch v.Kind() {
	case slog.KindAny, slog.KindLogValuer:
		switch x := v.Any().(type) {
		case *actor.PID:
			if x == nil {
				return ""
			}
			return x.Id
		case *PanicInfo:
			return x.Value
		default:
			return fmt.Sprintf("%T", x)
		}
	case slog.KindGroup:
		return "group"
	case slog.KindString:
		switch a.Key {
		case "message", "reason", "exception":
			return "string"
		}
	}
	return v.Any()
}
