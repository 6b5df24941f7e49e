package container

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/troupe-dev/troupe/actors/source/podchange"
)

// catalog knows its services only after a while.
type catalog struct{ known chan struct{} }

func (c catalog) Services(ctx context.Context) ([]*v1.Service, error) {
	select {
	case <-c.known:
	default:
		select {
		case <-c.known:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return []*v1.Service{{}}, nil
}

// The API server may run in a static pod: this must not wait for what only the API server knows.
func TestStaticPodsDoNotWaitForServices(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		known := make(chan struct{})
		b := &Builder{Services: catalog{known}}
		static, other := &v1.Pod{}, &v1.Pod{}
		static.Annotations = map[string]string{podchange.ConfigSource: "file"}
		other.Annotations = map[string]string{podchange.ConfigSource: "api"}
		begin := time.Now()
		list, err := b.services(t.Context(), static)
		if err != nil || len(list) != 0 || time.Since(begin) != 0 {
			t.Errorf("static: %d services, %v", len(list), err)
		}
		go func() {
			time.Sleep(time.Second)
			close(known)
		}()
		if list, err := b.services(t.Context(), other); err != nil || len(list) != 1 || time.Since(begin) != time.Second {
			t.Errorf("other: %d services after %v, %v", len(list), time.Since(begin), err)
		}
		if list, err := b.services(t.Context(), static); err != nil || len(list) != 1 {
			t.Errorf("static, once they are known: %d services, %v", len(list), err)
		}
	})
}
