package cri

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/troupe-dev/troupe/messages/model"
)

func TestClassOf(t *testing.T) {
	grpc := func(c codes.Code, msg string) error { return status.Error(c, msg) }
	for _, tc := range []struct {
		err  error
		want model.OutcomeClass
	}{
		{nil, model.OutcomeOK},
		{grpc(codes.NotFound, "no such container"), model.OutcomeNotFound},
		{grpc(codes.DeadlineExceeded, ""), model.OutcomeUnknown},
		{grpc(codes.Canceled, ""), model.OutcomeUnknown},
		{grpc(codes.Unavailable, "transport is closing"), model.OutcomeUnknown},
		{grpc(codes.Unknown, "failed to create containerd task: no such file"), model.OutcomeRefused},
		{grpc(codes.InvalidArgument, ""), model.OutcomeRefused},
		{grpc(codes.Unimplemented, ""), model.OutcomeRefused},
		{grpc(codes.Unknown, `failed to reserve container name "a_b": name "a_b" is reserved for "0123"`), model.OutcomeUnknown},
		{grpc(codes.Unknown, `error reserving ctr name k8s_a_b for id 0123: name is reserved`), model.OutcomeUnknown},
		{context.DeadlineExceeded, model.OutcomeUnknown},
		{errors.New("anything"), model.OutcomeRefused},
	} {
		for _, err := range []error{tc.err, wrap(tc.err)} {
			if got := ClassOf(err); got != tc.want {
				t.Errorf("ClassOf(%v) = %v, want %v", err, got, tc.want)
			}
		}
	}
}

func wrap(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("start container x: %w", errors.Join(ErrUnimplemented, err))
}
