// Package messages is the vocabulary of Troupe's actors. It holds no behaviour and imports neither the actor library
// nor any I/O: one sealed family of messages per receiver (podmsg, containermsg, …) and the model they speak of.
package messages

// Sink is an address that a message can be sent to. Telling never blocks and never fails: an address whose actor has
// ended swallows the message. Implementations are safe for concurrent use.
type Sink interface {
	Tell(msg any)
}

// SinkFunc adapts a function to Sink. The function must not block.
type SinkFunc func(msg any)

// Tell calls f(msg).
func (f SinkFunc) Tell(msg any) { f(msg) }

// Nowhere swallows every message.
var Nowhere Sink = SinkFunc(func(any) {})
