package cli

import (
	"encoding/json"
	"fmt"
	"io"
)

// indent prints JSON for people who asked for JSON.
func indent(w io.Writer, raw []byte) error {
	var v any
	if err := json.Unmarshal(raw, &v); err != nil {
		return fmt.Errorf("read the answer of the agent: %w", err)
	}
	return encode(w, v)
}

func encode(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}
