package stream

import (
	"bytes"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
)

// closing is a connection whose other side has said its last words and takes no more.
type closing struct {
	net.Conn
	words io.Reader
}

func (c closing) Read(b []byte) (int, error) { return c.words.Read(b) }
func (closing) Write([]byte) (int, error)    { return 0, errors.New("broken pipe") }

// Sending to a side that has closed ends nothing as long as there is something to read from it.
func TestLastWords(t *testing.T) {
	c := lastWords{closing{words: strings.NewReader("exit code 7")}}
	if n, err := io.Copy(c, strings.NewReader("an acknowledgement")); n != 18 || err != nil {
		t.Errorf("the copy to it ended after %d bytes: %v", n, err)
	}
	var got bytes.Buffer
	if _, err := io.Copy(&got, c); err != nil || got.String() != "exit code 7" {
		t.Errorf("heard %q %v", got.String(), err)
	}
}
