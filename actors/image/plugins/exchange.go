package plugins

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kubeletconfig "k8s.io/kubelet/config/v1"
	credentials "k8s.io/kubelet/pkg/apis/credentialprovider/v1"
)

const (
	// execTimeout bounds one run of a plugin, as in the kubelet.
	execTimeout = time.Minute
	// lingering is how long a killed plugin's own children may hold its output open.
	lingering = 2 * time.Second
	// maxComplaint bounds what of a plugin's standard error is kept.
	maxComplaint = 4 << 10
)

// execute runs a plugin once: the request goes in, the response comes out. Errors never show the response, which holds
// credentials.
func execute(ctx context.Context, binDir string, p *kubeletconfig.CredentialProvider, request credentials.CredentialProviderRequest) (*credentials.CredentialProviderResponse, error) {
	request.TypeMeta = metav1.TypeMeta{Kind: "CredentialProviderRequest", APIVersion: p.APIVersion}
	in, err := json.Marshal(request)
	if err != nil {
		return nil, fmt.Errorf("encode request: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, execTimeout)
	defer cancel()
	var out, complaint bytes.Buffer
	cmd := exec.CommandContext(ctx, filepath.Join(binDir, p.Name), p.Args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr, cmd.WaitDelay = bytes.NewReader(append(in, '\n')), &out, &complaint, lingering
	cmd.Env = os.Environ()
	for _, v := range p.Env {
		cmd.Env = append(cmd.Env, v.Name+"="+v.Value) // the last one of a name counts
	}
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		words := complaint.String()
		if len(words) > maxComplaint {
			words = words[:maxComplaint]
		}
		return nil, fmt.Errorf("error execing credential provider plugin %s for image %s: %w: %s", p.Name, request.Image, err, strings.TrimSpace(words))
	}
	return decodeResponse(out.Bytes(), p.APIVersion)
}

func decodeResponse(text []byte, want string) (*credentials.CredentialProviderResponse, error) {
	var r credentials.CredentialProviderResponse
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if d.Decode(&r) != nil { // the decoder's errors quote what they read
		return nil, errors.New("error decoding credential provider plugin response from stdout")
	}
	if r.APIVersion != want {
		return nil, fmt.Errorf("apiVersion from credential plugin response did not match expected apiVersion:%s, actual apiVersion:%s", want, r.APIVersion)
	}
	if r.Kind != "CredentialProviderResponse" {
		return nil, fmt.Errorf("credential plugin response has unexpected Kind: %q", r.Kind)
	}
	return &r, nil
}
