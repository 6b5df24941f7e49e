package sim

import (
	"strconv"
	"strings"
	"time"
)

// shell understands the little that test pods ask of a shell: sleep, exit, echo, true, false, wait and trap of the stop
// signal, alone or as sh -c "a; b". A process without a trap ignores the signal, as the first process of a container
// does. A script whose last statement is unknown runs until it is stopped and honours the signal.
func shell(words []string) program {
	if len(words) == 0 {
		return program{forever: true, termExit: exitTerminated}
	}
	if strings.HasPrefix(words[0], "/no/such/") {
		return program{missing: true}
	}
	if name := base(words[0]); (name == "sh" || name == "ash" || name == "bash") && len(words) >= 3 && words[1] == "-c" {
		return script(words[2])
	}
	p := program{ignoreTerm: true, termExit: exitTerminated}
	if !p.statement(words) {
		return program{forever: true, termExit: exitTerminated}
	}
	return p
}

func base(path string) string { return path[strings.LastIndexByte(path, '/')+1:] }

func script(text string) program {
	p := program{ignoreTerm: true, termExit: exitTerminated}
	known := true
	for _, st := range statements(text) {
		if p.forever {
			break
		}
		if st[0] == "exit" {
			p.exit = 0
			if len(st) > 1 {
				p.exit = code(st[1])
			}
			return p
		}
		known = p.statement(st)
	}
	if !known {
		p.forever = true
		if p.ignoreTerm && p.termExit == exitTerminated {
			p.ignoreTerm = false
		}
	}
	return p
}

// statement adds one command to the program; false says that it is not known.
func (p *program) statement(w []string) bool {
	switch base(w[0]) {
	case "true", ":", "wait":
		p.exit = 0
	case "false":
		p.exit = 1
	case "sleep":
		p.exit = 0
		if len(w) < 2 {
			p.exit = 1
			return true
		}
		secs, err := strconv.ParseFloat(strings.TrimSuffix(w[1], "s"), 64)
		if err != nil || secs > 1e9 { // infinity
			p.forever = true
			return true
		}
		p.run += time.Duration(secs * float64(time.Second))
	case "echo":
		p.exit = 0
		l := line{at: p.run}
		var text []string
		for _, a := range w[1:] {
			if a == ">&2" || a == "1>&2" {
				l.stderr = true
				continue
			}
			text = append(text, a)
		}
		l.text = strings.Join(text, " ")
		p.out = append(p.out, l)
	case "trap":
		if len(w) < 3 || !(w[2] == "TERM" || w[2] == "SIGTERM" || w[2] == "15") {
			return true
		}
		body := strings.Fields(w[1])
		p.ignoreTerm = len(body) == 0
		p.termExit = 0
		if len(body) == 2 && body[0] == "exit" {
			p.termExit = code(body[1])
		}
	default:
		return false
	}
	return true
}

// statements splits a script at ; newline & and && outside quotes, and each statement into words.
func statements(text string) [][]string {
	var out [][]string
	var cur []string
	var word strings.Builder
	inWord := false
	endWord := func() {
		if inWord {
			cur = append(cur, word.String())
			word.Reset()
			inWord = false
		}
	}
	endStatement := func() {
		endWord()
		if len(cur) > 0 {
			out = append(out, cur)
			cur = nil
		}
	}
	var quote byte
	for i := range len(text) {
		ch := text[i]
		switch {
		case quote != 0 && ch == quote:
			quote = 0
		case quote != 0:
			word.WriteByte(ch)
		case ch == '\'' || ch == '"':
			quote, inWord = ch, true
		case ch == '&' && i > 0 && text[i-1] == '>': // >&2
			word.WriteByte(ch)
		case ch == ';' || ch == '\n' || ch == '&':
			endStatement()
		case ch == ' ' || ch == '\t':
			endWord()
		default:
			word.WriteByte(ch)
			inWord = true
		}
	}
	endStatement()
	return out
}
