package cli

import (
	"io"
	"os"

	"golang.org/x/term"
)

// terminalWidth is the width of f in columns, 0 if it is no terminal.
func terminalWidth(f *os.File) int {
	width, _, err := term.GetSize(int(f.Fd()))
	if err != nil {
		return 0
	}
	return width
}

// colours wraps words in colour, or does nothing.
type colours bool

// coloursFor is on for terminals, unless NO_COLOR is set (no-color.org).
func coloursFor(w io.Writer) colours {
	f, ok := w.(*os.File)
	return colours(ok && term.IsTerminal(int(f.Fd())) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb")
}

func (c colours) wrap(code, s string) string {
	if !c || s == "" {
		return s
	}
	return "\x1b[" + code + "m" + s + "\x1b[0m"
}

func (c colours) bold(s string) string   { return c.wrap("1", s) }
func (c colours) dim(s string) string    { return c.wrap("2", s) }
func (c colours) red(s string) string    { return c.wrap("31", s) }
func (c colours) green(s string) string  { return c.wrap("32", s) }
func (c colours) yellow(s string) string { return c.wrap("33", s) }
