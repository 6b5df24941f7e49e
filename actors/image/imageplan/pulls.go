package imageplan

import "time"

// startPulls starts what the limits allow, those whose containers wait before those ahead of their turn, and asks to be
// woken when time alone will allow more.
func (p *plan) startPulls() {
	s := p.s
	var wake time.Time
	for {
		next := p.nextPull()
		if next == nil {
			break
		}
		if free, at := p.slot(); !free {
			wake = at
			break
		}
		if wait := p.token(); wait > 0 {
			wake = p.now.Add(wait)
			break
		}
		next.Running, next.Started = true, p.now
		p.do(StartPull{next.ID, next.Name, next.By})
	}
	if !wake.Equal(s.TimerAt) {
		s.TimerAt = wake
		p.do(SetTimer{wake})
	}
}

func (p *plan) nextPull() *Pull {
	var ahead *Pull
	for _, pull := range p.s.Pulls {
		if pull.Running {
			continue
		}
		for key := range pull.waiting {
			if !p.s.Consumers[key].Ahead {
				return pull
			}
		}
		if ahead == nil {
			ahead = pull
		}
	}
	return ahead
}

// slot says whether another pull may run, and if not when one that runs will be overdue.
func (p *plan) slot() (free bool, at time.Time) {
	width := p.s.Config.width()
	if width <= 0 {
		return true, time.Time{}
	}
	counted := 0
	for _, pull := range p.s.Pulls {
		if pull.Running && p.now.Sub(pull.Started) < overdue {
			counted++
			if due := pull.Started.Add(overdue); at.IsZero() || due.Before(at) {
				at = due
			}
		}
	}
	return counted < width, at
}

// token takes one from the bucket of registryPullQPS, or says how long until there is one. The kubelet fails a pull that
// finds the bucket empty; here it waits its turn.
func (p *plan) token() (wait time.Duration) {
	s := p.s
	if s.Config.QPS <= 0 {
		return 0
	}
	burst := float64(max(s.Config.Burst, 1))
	if s.tokensAt.IsZero() {
		s.tokens = burst
	} else {
		s.tokens = min(burst, s.tokens+p.now.Sub(s.tokensAt).Seconds()*s.Config.QPS)
	}
	s.tokensAt = p.now
	if s.tokens < 1 {
		// Rounded up: a timer that fires early would only be set again.
		return time.Duration((1-s.tokens)/s.Config.QPS*float64(time.Second)) + time.Microsecond
	}
	s.tokens--
	return 0
}
