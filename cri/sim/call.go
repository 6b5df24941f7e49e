package sim

import (
	"context"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// call is one CRI call as far as scripts, latency and counters care.
type call struct {
	op string
	Match
	key string // tells calls about the same object apart (attempt)
}

// steps are the parts of an operation. prepare checks and reserves at once; then the call takes its time; then commit
// does the work, or abort gives the reservation back and sees the reason. prepare and abort may be nil.
type steps[T any] struct {
	prepare func() error
	commit  func(ctx context.Context) (T, error)
	abort   func(err error)
}

// run performs one call under its script, latency and counters.
func run[T any](ctx context.Context, r *Runtime, c call, s steps[T]) (res T, err error) {
	done := r.stats.Begin(c.op, c.UID)
	defer func() { done(err) }()
	outcome, rule := r.scripts.decide(c)
	if outcome == Unavailable {
		return res, toStatusFail(unavailable(c.op))
	}
	if s.prepare != nil {
		if err := s.prepare(); err != nil {
			return res, toStatus(err)
		}
	}
	extra, workCtx := time.Duration(0), ctx
	switch o := outcome.(type) {
	case Kind:
		if o == Hang {
			err = hold(ctx, rule)
		}
	case Delay:
		extra = time.Duration(o)
	case Stall:
		extra, workCtx = time.Duration(o), context.WithoutCancel(ctx)
	case Fail:
	}
	if err == nil {
		err = sleep(workCtx, r.cfg.Latency.of(r.cfg.Seed, c)+extra)
	}
	if f, ok := outcome.(Fail); ok && err == nil {
		err = toStatusFail(f)
	}
	if err != nil {
		if s.abort != nil {
			s.abort(err)
		}
		return res, err
	}
	if res, err = s.commit(workCtx); err != nil {
		return res, toStatus(err)
	}
	var none T
	switch outcome {
	case LostReply:
		return none, status.Errorf(codes.Unavailable, "scripted: the connection broke before the answer of %s", c.op)
	case LateReply:
		if err := hold(ctx, rule); err != nil {
			return none, err
		}
	}
	return res, nil
}

// hold waits for the rule's release.
func hold(ctx context.Context, u *Rule) error {
	select {
	case <-u.released:
		return nil
	case <-ctx.Done():
		return ctxStatus(ctx)
	}
}

// toStatus gives plain errors the code that containerd's have.
func toStatus(err error) error {
	if _, ok := status.FromError(err); ok {
		return err
	}
	return status.Error(codes.Unknown, err.Error())
}

func notFound(what, id string) error {
	return status.Errorf(codes.NotFound, "an error occurred when try to find %s %q: not found", what, id)
}

func unavailable(op string) Fail {
	return Fail{Code: codes.Unavailable, Message: "scripted: " + op + " is unavailable"}
}

func toStatusFail(f Fail) error { return status.Error(f.Code, f.Message) }
