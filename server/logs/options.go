package logs

import (
	"errors"
	"fmt"
	"net/url"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// Options choose what of a log is shown.
type Options struct {
	Follow     bool
	Previous   bool
	Timestamps bool
	// TailLines is how many physical lines from the end, nil for all. LimitBytes ends the output, nil for no limit.
	TailLines, LimitBytes *int64
	// Since hides earlier lines; zero hides none.
	Since time.Time
	// Stdout and Stderr are the wanted streams.
	Stdout, Stderr bool
}

// ErrUndecodable and ErrInvalid are the two ways in which a query can be wrong; they have different status codes.
var (
	ErrUndecodable = errors.New("unable to decode query")
	ErrInvalid     = errors.New("invalid request")
)

// Decode reads the query of a log request (the fields of v1.PodLogOptions, and the older "tail") and checks it as
// ValidatePodLogOptions does.
func Decode(q url.Values, now time.Time) (Options, error) {
	var o Options
	var seconds *int64
	var since *metav1.Time
	tail := q["tailLines"]
	if old := q.Get("tail"); old == "all" {
		tail = nil
	} else if old != "" {
		tail = []string{old}
	}
	err := errors.Join(
		flag(q["follow"], &o.Follow), flag(q["previous"], &o.Previous), flag(q["timestamps"], &o.Timestamps),
		number(tail, &o.TailLines), number(q["limitBytes"], &o.LimitBytes), number(q["sinceSeconds"], &seconds),
	)
	if s := q.Get("sinceTime"); s != "" {
		since = &metav1.Time{}
		err = errors.Join(err, since.UnmarshalQueryParameter(s))
	}
	if err != nil {
		return o, fmt.Errorf("%w: %w", ErrUndecodable, err)
	}
	stream := v1.LogStreamAll
	if s := q["stream"]; len(s) > 0 {
		stream = s[0]
	}
	switch stream {
	case v1.LogStreamAll:
		o.Stdout, o.Stderr = true, true
	case v1.LogStreamStdout:
		o.Stdout = true
	case v1.LogStreamStderr:
		o.Stderr = true
	default:
		return o, fmt.Errorf("%w: stream %q", ErrInvalid, stream)
	}
	switch {
	case o.TailLines != nil && *o.TailLines < 0:
		return o, fmt.Errorf("%w: tailLines must not be negative", ErrInvalid)
	case o.LimitBytes != nil && *o.LimitBytes < 1:
		return o, fmt.Errorf("%w: limitBytes must be greater than 0", ErrInvalid)
	case seconds != nil && since != nil:
		return o, fmt.Errorf("%w: at most one of sinceTime or sinceSeconds may be specified", ErrInvalid)
	case seconds != nil && *seconds < 1:
		return o, fmt.Errorf("%w: sinceSeconds must be greater than 0", ErrInvalid)
	case stream != v1.LogStreamAll && o.TailLines != nil:
		return o, fmt.Errorf("%w: tailLines and a specific stream are mutually exclusive", ErrInvalid)
	}
	if since != nil {
		o.Since = since.Time
	}
	if seconds != nil {
		o.Since = now.Add(-time.Duration(*seconds) * time.Second)
	}
	return o, nil
}

func flag(in []string, out *bool) error {
	return runtime.Convert_Slice_string_To_bool(&in, out, nil)
}

func number(in []string, out **int64) error {
	if len(in) == 0 {
		return nil
	}
	return runtime.Convert_Slice_string_To_Pointer_int64(&in, out, nil)
}
