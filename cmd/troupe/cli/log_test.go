package cli

import (
	"testing"

	"k8s.io/klog/v2"
	"k8s.io/klog/v2/ktesting"
)

func logr(t *testing.T) klog.Logger { return ktesting.NewLogger(t, ktesting.NewConfig()) }
