package containerspec

import (
	"fmt"
	"strings"

	v1 "k8s.io/api/core/v1"
)

// Expand replaces $(NAME) by the value of NAME; $$ is a dollar sign that starts nothing, and a reference to a name that
// is not known stays as it is.
func Expand(text string, lookup func(string) (string, bool)) string {
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		if text[i] != '$' || i+1 == len(text) {
			b.WriteByte(text[i])
			continue
		}
		switch text[i+1] {
		case '$':
			b.WriteByte('$')
			i++
		case '(':
			end := strings.IndexByte(text[i+2:], ')')
			if end < 0 {
				b.WriteString("$(")
				i++
				continue
			}
			name := text[i+2 : i+2+end]
			if v, ok := lookup(name); ok {
				b.WriteString(v)
			} else {
				b.WriteString("$(" + name + ")")
			}
			i += 2 + end
		default:
			b.WriteByte('$')
			b.WriteByte(text[i+1])
			i++
		}
	}
	return b.String()
}

func expandAll(list []string, env []Variable) []string {
	if len(list) == 0 {
		return nil
	}
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = Expand(s, lookupIn(env))
	}
	return out
}

func lookupIn(env []Variable) func(string) (string, bool) {
	return func(name string) (string, bool) {
		for i := range env {
			if env[i].Name == name {
				return env[i].Value, true
			}
		}
		return "", false
	}
}

// SubPath is the path inside the volume that a mount asks for, with subPathExpr expanded by the container's
// environment. Absolute paths and steps back are refused.
func SubPath(m *v1.VolumeMount, env []Variable) (string, error) {
	sub := m.SubPath
	if m.SubPathExpr != "" {
		var missing []string
		sub = Expand(m.SubPathExpr, func(name string) (string, bool) {
			v, ok := lookupIn(env)(name)
			if !ok {
				missing = append(missing, name)
			}
			return v, ok
		})
		if len(missing) > 0 {
			return "", fmt.Errorf("missing value for %q", strings.Join(missing, ", "))
		}
	}
	if strings.HasPrefix(sub, "/") {
		return "", fmt.Errorf("error SubPath `%s` must not be an absolute path", sub)
	}
	for _, part := range strings.Split(sub, "/") {
		if part == ".." {
			return "", fmt.Errorf("unable to provision SubPath `%s`: must not contain '..'", sub)
		}
	}
	return sub, nil
}
