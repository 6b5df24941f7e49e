package remote

import (
	"context"
	"errors"
	"fmt"

	"google.golang.org/grpc/codes"

	"github.com/troupe-dev/troupe/cri"
)

// fail wraps the error of a call with its operation and object. The gRPC status stays within reach of cri.CodeOf.
func fail(op, id string, err error) error {
	if err == nil {
		return nil
	}
	if cri.CodeOf(err) == codes.Unimplemented {
		err = errors.Join(cri.ErrUnimplemented, err)
	}
	if id == "" {
		return fmt.Errorf("%s: %w", op, err)
	}
	return fmt.Errorf("%s %s: %w", op, id, err)
}

// failExec is fail for ExecSync: a deadline that the runtime reports while the caller's context lives is the
// command's own.
func failExec(ctx context.Context, id string, err error) error {
	if cri.CodeOf(err) == codes.DeadlineExceeded && ctx.Err() == nil {
		err = errors.Join(cri.ErrExecTimeout, err)
	}
	return fail("exec in container", id, err)
}
