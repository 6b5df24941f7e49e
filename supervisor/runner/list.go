package runner

// list is an intrusive queue of calls; a call is in at most one.
type list struct {
	head, tail *call
	n          int
}

func (q *list) push(c *call) {
	c.in, c.prev, c.next = q, q.tail, nil
	if q.tail != nil {
		q.tail.next = c
	} else {
		q.head = c
	}
	q.tail = c
	q.n++
}

func (q *list) remove(c *call) {
	if c.prev != nil {
		c.prev.next = c.next
	} else {
		q.head = c.next
	}
	if c.next != nil {
		c.next.prev = c.prev
	} else {
		q.tail = c.prev
	}
	c.in, c.prev, c.next = nil, nil, nil
	q.n--
}
