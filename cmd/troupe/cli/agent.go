package cli

import (
	"context"
	"errors"
)

// startAgent composes and runs the tree of actors until ctx ends. It calls
// o.Started once the agent works, and returns nil after a clean stop.
func startAgent(ctx context.Context, o NodeOptions) error {
	_ = o
	if ctx.Err() != nil {
		return nil
	}
	return errors.New("this build has no agent inside")
}
