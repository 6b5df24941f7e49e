package inspect

import "regexp"

// scrubber removes what looks like a credential from text that others wrote: registries and proxies put URLs with
// passwords and signatures into their errors. It is the second line of defence; nobody may publish secrets at all.
type scrubber struct{ rules []rule }

type rule struct {
	find *regexp.Regexp
	with string
}

func newScrubber() scrubber {
	return scrubber{[]rule{
		{regexp.MustCompile(`://[^/\s"\\@]+@`), "://***@"},
		{regexp.MustCompile(`(?i)\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{8,}`), "$1 ***"},
		{regexp.MustCompile(`(?i)([a-z0-9_-]*(?:token|signature|password|passwd|secret|credential|sig|apikey|api_key)=)[^&\s"\\]+`), "$1***"},
		{regexp.MustCompile(`\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}(\.[A-Za-z0-9_-]*)?`), "***"},
	}}
}

func (s scrubber) bytes(b []byte) []byte {
	for _, r := range s.rules {
		b = r.find.ReplaceAll(b, []byte(r.with))
	}
	return b
}
