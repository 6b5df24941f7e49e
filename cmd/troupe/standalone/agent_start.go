package standalone

import (
	"context"
	"errors"
)

// startAgent composes the agent of a run.
func startAgent(context.Context, AgentConfig) (Agent, error) {
	return nil, errors.New("this build has no agent inside")
}
