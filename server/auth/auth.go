// Package auth answers who asks the node API and whether that is allowed: client certificates, bearer tokens through
// TokenReview, anonymous; AlwaysAllow or SubjectAccessReview. The parts are k8s.io/apiserver's, so caches, retries and
// reloading of the client CA behave as the kubelet's do.
package auth

import (
	"context"
	"errors"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apiserver/pkg/apis/apiserver"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/authenticatorfactory"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/apiserver/pkg/authorization/authorizerfactory"
	authorizationcel "k8s.io/apiserver/pkg/authorization/cel"
	"k8s.io/apiserver/pkg/server/dynamiccertificates"
	authenticationclient "k8s.io/client-go/kubernetes/typed/authentication/v1"
	authorizationclient "k8s.io/client-go/kubernetes/typed/authorization/v1"
)

// Mode is how requests are authorized (KubeletConfiguration authorization.mode).
type Mode string

// The modes.
const (
	AlwaysAllow Mode = "AlwaysAllow"
	Webhook     Mode = "Webhook"
)

// Config says how to authenticate and authorize. Its fields are those of KubeletConfiguration.
type Config struct {
	// NodeName is the name in the attributes of every review.
	NodeName string
	// ClientCAFile is a PEM bundle; it is read again when it changes. "" accepts no client certificates.
	ClientCAFile string
	// Anonymous lets requests without credentials be system:anonymous instead of refusing them.
	Anonymous bool
	// WebhookTokens sends bearer tokens to the API server (TokenReview). TokenTTL is how long an answer is kept.
	WebhookTokens bool
	TokenTTL      time.Duration // the kubelet's default is 2 min
	Mode          Mode
	AllowTTL      time.Duration // the kubelet's default is 5 min
	DenyTTL       time.Duration // the kubelet's default is 30 s
}

// Deps are the API clients for the reviews; each may be nil where the Config does not need it.
type Deps struct {
	Tokens authenticationclient.AuthenticationV1Interface
	Access authorizationclient.AuthorizationV1Interface
}

// Auth authenticates and authorizes requests. It is safe for concurrent use.
type Auth struct {
	node     string
	who      authenticator.Request
	may      authorizer.Authorizer
	clientCA *dynamiccertificates.DynamicFileCAContent // nil without a client CA
}

// New builds the chain. It reads the client CA file and fails when that is not possible, or when the configuration
// needs an API client that is not there.
func New(d Deps, c Config) (*Auth, error) {
	a := &Auth{node: c.NodeName}
	ac := authenticatorfactory.DelegatingAuthenticatorConfig{
		Anonymous: &apiserver.AnonymousAuthConfig{Enabled: c.Anonymous},
		CacheTTL:  c.TokenTTL,
	}
	if c.ClientCAFile != "" {
		ca, err := dynamiccertificates.NewDynamicCAContentFromFile("client-ca-bundle", c.ClientCAFile)
		if err != nil {
			return nil, fmt.Errorf("read client CA %s: %w", c.ClientCAFile, err)
		}
		a.clientCA = ca
		ac.ClientCertificateCAContentProvider = ca
	}
	if c.WebhookTokens {
		if d.Tokens == nil {
			return nil, errors.New("no client provided, cannot use webhook authentication")
		}
		ac.TokenAccessReviewClient = d.Tokens
		ac.WebhookRetryBackoff = reviewBackoff()
	}
	who, _, err := ac.New()
	if err != nil {
		return nil, fmt.Errorf("build authentication: %w", err)
	}
	a.who = who
	if a.may, err = newAuthorizer(d, c); err != nil {
		return nil, err
	}
	return a, nil
}

// newAuthorizer builds the authorizer of the configured mode.
func newAuthorizer(d Deps, c Config) (authorizer.Authorizer, error) {
	switch c.Mode {
	case AlwaysAllow:
		return authorizerfactory.NewAlwaysAllowAuthorizer(), nil
	case Webhook:
		if d.Access == nil {
			return nil, errors.New("no client provided, cannot use webhook authorization")
		}
		may, err := authorizerfactory.DelegatingAuthorizerConfig{
			SubjectAccessReviewClient: d.Access,
			Compiler:                  noConditions{},
			AllowCacheTTL:             c.AllowTTL,
			DenyCacheTTL:              c.DenyTTL,
			WebhookRetryBackoff:       reviewBackoff(),
		}.New()
		if err != nil {
			return nil, fmt.Errorf("build authorization: %w", err)
		}
		return may, nil
	case "":
		return nil, errors.New("no authorization mode specified")
	default:
		return nil, fmt.Errorf("unknown authorization mode %s", c.Mode)
	}
}

// Run reloads the client CA until the context ends, and returns then.
func (a *Auth) Run(ctx context.Context) {
	if a.clientCA != nil {
		a.clientCA.Run(ctx, 1)
	}
}

// ClientCA returns the bundle that client certificates are verified with; nil when none are accepted.
func (a *Auth) ClientCA() dynamiccertificates.CAContentProvider {
	if a.clientCA == nil {
		return nil
	}
	return a.clientCA
}

// reviewBackoff is how a failed review is tried again: apiserver's DefaultAuthWebhookRetryBackoff, whose package would
// bring a whole API server with it.
func reviewBackoff() *wait.Backoff {
	return &wait.Backoff{Duration: 500 * time.Millisecond, Factor: 1.5, Jitter: 0.2, Steps: 5}
}

// noConditions stands in for the CEL compiler of the authorizer: a node has no match conditions, and building the CEL
// environments would cost megabytes that an idle agent never uses.
type noConditions struct{}

// CompileCELExpression refuses: there are no expressions here.
func (noConditions) CompileCELExpression(authorizationcel.ExpressionAccessor) (authorizationcel.CompilationResult, error) {
	return authorizationcel.CompilationResult{}, errors.New("match conditions are not supported")
}
