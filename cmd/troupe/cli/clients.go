package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// Clients talk to the API server. Each has a budget of its own, so that a
// flood of one kind of request holds up no other.
type Clients struct {
	// Config is that of Main, for clients of other API groups. Copy it before use.
	Config *rest.Config
	Main   kubernetes.Interface
	// Events is limited by eventRecordQPS and eventBurst.
	Events kubernetes.Interface
	// Heartbeat is not limited, and each request ends after the shorter of the
	// lease's duration and the status period.
	Heartbeat kubernetes.Interface
}

// newClients reads --kubeconfig; without one there is no API server and the
// result is nil.
func newClients(o NodeOptions) (*Clients, error) {
	path, bootstrap := o.Flags.Kubeconfig, o.Flags.BootstrapKubeconfig
	if path == "" {
		if bootstrap != "" {
			return nil, errors.New("--bootstrap-kubeconfig needs --kubeconfig, the file that the new credentials go to")
		}
		return nil, nil
	}
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) && bootstrap != "" {
		return nil, fmt.Errorf("--kubeconfig %s does not exist, and requesting a certificate with --bootstrap-kubeconfig is not supported yet: create the file, for instance by joining once with a kubelet", path)
	}
	config, err := clientcmd.BuildConfigFromFlags("", path)
	if err != nil {
		return nil, fmt.Errorf("--kubeconfig %s: %w", path, err)
	}
	config.UserAgent = fmt.Sprintf("troupe/%s (%s)", o.Version.Kubelet, o.Version.Platform)
	config.ContentType = o.Config.ContentType
	if config.ContentType == runtime.ContentTypeProtobuf {
		config.AcceptContentTypes = runtime.ContentTypeProtobuf + "," + runtime.ContentTypeJSON
	}
	config.QPS, config.Burst = float32(*o.Config.KubeAPIQPS), int(o.Config.KubeAPIBurst)

	events := rest.CopyConfig(config)
	events.QPS, events.Burst = float32(*o.Config.EventRecordQPS), int(o.Config.EventBurst)

	heartbeat := rest.CopyConfig(config)
	heartbeat.QPS = -1
	heartbeat.Timeout = min(o.Config.NodeStatusUpdateFrequency.Duration, time.Duration(o.Config.NodeLeaseDurationSeconds)*time.Second)

	out := &Clients{Config: config}
	for _, c := range []struct {
		config *rest.Config
		into   *kubernetes.Interface
	}{{config, &out.Main}, {events, &out.Events}, {heartbeat, &out.Heartbeat}} {
		client, err := kubernetes.NewForConfig(c.config)
		if err != nil {
			return nil, fmt.Errorf("--kubeconfig %s: %w", path, err)
		}
		*c.into = client
	}
	return out, nil
}
