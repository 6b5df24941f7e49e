package cri

import (
	"context"
	"errors"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/troupe-dev/troupe/messages/model"
)

// ErrUnimplemented says that the runtime does not know the call.
var ErrUnimplemented = errors.New("the runtime does not implement the call")

// ClassOf sorts the end of a call by what may be concluded from it: a deadline or a lost connection leaves the outcome
// unknown, NotFound has no object, everything else did nothing.
func ClassOf(err error) model.OutcomeClass {
	if err == nil {
		return model.OutcomeOK
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return model.OutcomeUnknown
	}
	switch CodeOf(err) {
	case codes.NotFound:
		return model.OutcomeNotFound
	case codes.DeadlineExceeded, codes.Canceled, codes.Unavailable:
		return model.OutcomeUnknown
	default:
		return model.OutcomeRefused
	}
}

// CodeOf returns the gRPC code of an error, also of one that was wrapped.
func CodeOf(err error) codes.Code {
	if err == nil {
		return codes.OK
	}
	var s interface{ GRPCStatus() *status.Status }
	if errors.As(err, &s) {
		return s.GRPCStatus().Code()
	}
	return codes.Unknown
}
