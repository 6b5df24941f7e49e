package cri

import (
	"context"
	"errors"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/troupe-dev/troupe/messages/model"
)

// ErrUnimplemented says that the runtime does not know the call.
var ErrUnimplemented = errors.New("the runtime does not implement the call")

// ErrNoCRIv1 says that something answers at the endpoint that does not serve version v1 of CRI.
var ErrNoCRIv1 = errors.New("the runtime does not serve CRI v1")

// ErrExecTimeout says that a command of ExecSync outlived the timeout it was given (and not that the call did: then
// the error is a deadline without this one).
var ErrExecTimeout = errors.New("the command timed out")

// ClassOf sorts the end of a call by what may be concluded from it: a deadline or a lost connection leaves the outcome
// unknown, NotFound has no object, everything else did nothing. A reserved name is unknown too: an earlier call with
// the same name, whose answer was lost, is still in flight or has made the object.
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
		if NameReserved(err) {
			return model.OutcomeUnknown
		}
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

// NameReserved says that a create was refused because its name and attempt are taken, by an object or by a create that
// has not ended. CRI has no code for it; these are the words of containerd and of CRI-O.
func NameReserved(err error) bool {
	if err == nil {
		return false
	}
	m := err.Error()
	return strings.Contains(m, "is reserved for") || strings.Contains(m, "name is reserved") ||
		strings.Contains(m, "that name is already in use")
}

// NetworkNotReady says that a sandbox was refused because the runtime has no pod network yet. CRI has no code for it;
// these are the words of containerd and of CRI-O.
func NetworkNotReady(err error) bool {
	if err == nil {
		return false
	}
	m := err.Error()
	return strings.Contains(m, "cni config not initialized") || strings.Contains(m, "cni plugin not initialized") ||
		strings.Contains(m, "No CNI configuration file") || strings.Contains(m, "network is not ready")
}
