package model

// ObjectKind is a kind of API object that pods refer to.
type ObjectKind uint8

// The kinds.
const (
	ConfigMapObject ObjectKind = iota
	SecretObject
)

// String returns the kind in the API's singular, as messages have it.
func (k ObjectKind) String() string {
	if k == SecretObject {
		return "secret"
	}
	return "configmap"
}

// ObjectKey names a ConfigMap or Secret.
type ObjectKey struct {
	Kind            ObjectKind
	Namespace, Name string
}
