package imageplan

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/troupe-dev/troupe/messages/model"
	"github.com/troupe-dev/troupe/supervisor/policy"
)

// Next folds the event into the state, which it may change in place, and decides what to do now.
func Next(s State, e Event, now time.Time) (State, []Action) {
	p := plan{s: &s, now: now}
	switch e := e.(type) {
	case Want:
		p.want(e)
	case Drop:
		p.drop(e.UID)
	case Inspected:
		p.inspected(e)
	case Authorized:
		p.authorized(e)
	case Found:
		p.found(e)
	case Pulled:
		p.pulled(e)
	case Removed:
		delete(s.present, e.Image)
	case Tick:
		s.TimerAt = time.Time{}
	}
	p.startPulls()
	return s, p.acts
}

type plan struct {
	s    *State
	now  time.Time
	acts []Action
}

func (p *plan) do(a Action) { p.acts = append(p.acts, a) }

func (p *plan) emit(c *Consumer, kind, reason, format string, args ...any) {
	if !c.Ahead {
		p.do(Emit{c.Key, kind, reason, fmt.Sprintf(format, args...)})
	}
}

// ready and fail answer a consumer; afterwards it does not exist.
func (p *plan) ready(c *Consumer, ref string) {
	p.do(Ready{c.Key, c.Name.Requested, ref})
	p.forget(c)
}

func (p *plan) fail(c *Consumer, reason, message string, retryAt time.Time) {
	// The kubelet reports the failed start of the container besides the failure itself.
	p.emit(c, v1.EventTypeWarning, EventFailed, "Error: %s", reason)
	p.do(Failed{c.Key, c.Name.Requested, reason, message, retryAt})
	p.forget(c)
}

func (p *plan) forget(c *Consumer) {
	delete(p.s.Consumers, c.Key)
	p.do(Forget{c.Key})
}

func (p *plan) want(e Want) {
	s := p.s
	if c := s.Consumers[e.Key]; c != nil {
		if c.Name.Requested == e.Name.Requested && c.Policy == e.Policy && e.Err == "" {
			if c.Ahead && !e.Ahead {
				// Its turn has come: from now on it shows.
				c.Ahead = false
				if c.Stage == Pulling {
					p.beginPulling(c)
				}
			}
			return
		}
		p.leave(c)
		delete(s.Consumers, c.Key)
	}
	s.seq++
	c := &Consumer{Key: e.Key, Seq: s.seq, Name: e.Name, Policy: e.Policy, Ahead: e.Ahead}
	s.Consumers[e.Key] = c
	if e.Err != "" {
		message := fmt.Sprintf("Failed to apply default image tag %q: %s", e.Name.Requested, e.Err)
		p.emit(c, v1.EventTypeWarning, EventInspect, "%s", message)
		p.fail(c, ReasonInvalidImageName, message, p.now.Add(askAgain))
		return
	}
	if c.Policy == v1.PullAlways {
		p.lookup(c)
		return
	}
	c.Stage = Inspecting
	image := c.Name.Full
	if known := s.present[image]; known != nil {
		// A consumer that was already told and asks again may have found that the image is gone: it gets a look of its own.
		if _, told := known.served[c.Key]; !told && p.now.Sub(known.at) < presentFor {
			p.there(c, known)
			return
		}
	}
	if _, under := s.looking[image]; !under {
		s.looking[image] = struct{}{}
		p.do(Inspect{image})
	}
}

// at returns the consumers that are in a stage for an image, in a fixed order.
func (p *plan) at(stage Stage, image string) []*Consumer {
	var out []*Consumer
	for _, c := range p.s.Consumers {
		if c.Stage == stage && c.Name.Full == image {
			out = append(out, c)
		}
	}
	slices.SortFunc(out, func(a, b *Consumer) int { return int(a.Seq) - int(b.Seq) })
	return out
}

func (p *plan) inspected(e Inspected) {
	s := p.s
	if _, asked := s.looking[e.Image]; !asked {
		return
	}
	delete(s.looking, e.Image)
	delete(s.present, e.Image)
	for image, known := range s.present { // what nobody will ask for again must not pile up
		if p.now.Sub(known.at) >= presentFor {
			delete(s.present, image)
		}
	}
	var known *presence
	if e.Err == "" && e.Ref != "" {
		known = &presence{ref: e.Ref, size: e.Size, at: p.now, served: map[Key]struct{}{}}
		s.present[e.Image] = known
	}
	for _, c := range p.at(Inspecting, e.Image) {
		switch {
		case e.Err != "":
			message := fmt.Sprintf("Failed to inspect image %q: %s", c.Name.Requested, e.Err)
			p.emit(c, v1.EventTypeWarning, EventInspect, "%s", message)
			p.fail(c, ReasonImageInspectError, message, p.now.Add(askAgain))
		case known != nil:
			p.there(c, known)
		case c.Policy == v1.PullNever:
			p.never(c)
		default:
			p.lookup(c)
		}
	}
}

// there is called when the image is on the node.
func (p *plan) there(c *Consumer, known *presence) {
	if !c.Ahead { // an ask ahead of the turn is followed by the real one
		known.served[c.Key] = struct{}{}
	}
	if p.s.Config.Records {
		c.Stage = Authorizing
		p.do(Authorize{c.Key, c.Seq, c.Name, known.ref})
		return
	}
	p.use(c, known.ref)
}

func (p *plan) use(c *Consumer, ref string) {
	p.emit(c, v1.EventTypeNormal, EventPulled, "Container image %q already present on machine and can be accessed by the pod", c.Name.Requested)
	p.ready(c, ref)
}

// never does not tell an image that is not there from one that the pod may not use.
func (p *plan) never(c *Consumer) {
	message := fmt.Sprintf("Container image %q is not present with pull policy of Never", c.Name.Requested)
	p.emit(c, v1.EventTypeWarning, EventNeverPull, "%s", message)
	p.fail(c, ReasonErrImageNeverPull, message, p.now.Add(askAgain))
}

func (p *plan) authorized(e Authorized) {
	c := p.s.Consumers[e.Key]
	if c == nil || c.Seq != e.Seq || c.Stage != Authorizing {
		return
	}
	known := p.s.present[c.Name.Full]
	switch {
	case e.Err != "":
		p.fail(c, ReasonErrImagePull, e.Err, p.now.Add(askAgain))
	case e.OK && known != nil:
		p.use(c, known.ref)
	case e.OK: // removed meanwhile: look again
		c.Stage = Inspecting
		if _, under := p.s.looking[c.Name.Full]; !under {
			p.s.looking[c.Name.Full] = struct{}{}
			p.do(Inspect{c.Name.Full})
		}
	case c.Policy == v1.PullNever:
		p.never(c)
	default:
		p.lookup(c)
	}
}

// lookup begins a pull, unless the last one failed too recently.
func (p *plan) lookup(c *Consumer) {
	if b := p.s.backoff[backKey{c.Key.UID, c.Name.Full}]; b != nil && p.now.Before(b.until) {
		message := fmt.Sprintf("Back-off pulling image %q", c.Name.Requested)
		p.emit(c, v1.EventTypeNormal, EventBackOff, "%s", message)
		if b.last != "" {
			message += ": " + b.last
		}
		p.fail(c, ReasonImagePullBackOff, message, b.until)
		return
	}
	c.Stage = Credentials
	p.do(Lookup{c.Key, c.Seq, c.Name})
}

func (p *plan) found(e Found) {
	c := p.s.Consumers[e.Key]
	if c == nil || c.Seq != e.Seq || c.Stage != Credentials {
		return
	}
	if len(e.Missing) > 0 {
		p.emit(c, v1.EventTypeWarning, EventNoPullKeys, "Unable to retrieve some image pull secrets (%s); attempting to pull the image may not succeed.", strings.Join(e.Missing, ", "))
	}
	if e.Err != "" {
		p.fail(c, ReasonErrImagePull, e.Err, p.now.Add(askAgain))
		return
	}
	c.Stage = Pulling
	pull := p.join(c, e.Fingerprint)
	pull.waiting[c.Key] = struct{}{}
	c.Pull = pull.ID
	p.beginPulling(c)
}

func (p *plan) beginPulling(c *Consumer) {
	c.Began = p.now
	p.emit(c, v1.EventTypeNormal, EventPulling, "Pulling image %q", c.Name.Requested)
}

// join returns the pull of the same image with the same credentials, or a new one.
func (p *plan) join(c *Consumer, fingerprint string) *Pull {
	for _, pull := range p.s.Pulls {
		if pull.Name.Full == c.Name.Full && pull.Fingerprint == fingerprint {
			return pull
		}
	}
	p.s.seq++
	pull := &Pull{ID: p.s.seq, Name: c.Name, Fingerprint: fingerprint, By: c.Key, waiting: map[Key]struct{}{}}
	p.s.Pulls = append(p.s.Pulls, pull)
	return pull
}

// leave takes a consumer out of its pull, which ends when it was the last.
func (p *plan) leave(c *Consumer) {
	if c.Stage != Pulling {
		return
	}
	i := slices.IndexFunc(p.s.Pulls, func(pull *Pull) bool { return pull.ID == c.Pull })
	if i < 0 {
		return
	}
	pull := p.s.Pulls[i]
	delete(pull.waiting, c.Key)
	if len(pull.waiting) > 0 {
		if pull.By == c.Key { // the credentials of those that stay are equal
			pull.By = slices.MinFunc(slices.Collect(maps.Keys(pull.waiting)), func(a, b Key) int {
				return int(p.s.Consumers[a].Seq) - int(p.s.Consumers[b].Seq)
			})
		}
		return
	}
	p.s.Pulls = slices.Delete(p.s.Pulls, i, i+1)
	p.do(CancelPull{pull.ID})
}

func (p *plan) drop(uid model.UID) {
	for _, c := range p.consumers(func(c *Consumer) bool { return c.Key.UID == uid }) {
		p.leave(c)
		p.forget(c)
	}
	for key := range p.s.backoff {
		if key.uid == uid {
			delete(p.s.backoff, key)
		}
	}
}

func (p *plan) consumers(which func(*Consumer) bool) []*Consumer {
	var out []*Consumer
	for _, c := range p.s.Consumers {
		if which(c) {
			out = append(out, c)
		}
	}
	slices.SortFunc(out, func(a, b *Consumer) int { return int(a.Seq) - int(b.Seq) })
	return out
}

func (p *plan) pulled(e Pulled) {
	s := p.s
	i := slices.IndexFunc(s.Pulls, func(pull *Pull) bool { return pull.ID == e.ID })
	if i < 0 {
		return
	}
	pull := s.Pulls[i]
	s.Pulls = slices.Delete(s.Pulls, i, i+1)
	waiting := p.consumers(func(c *Consumer) bool { return c.Stage == Pulling && c.Pull == pull.ID })
	if e.Err == "" {
		for _, c := range waiting {
			delete(s.backoff, backKey{c.Key.UID, c.Name.Full})
			p.emit(c, v1.EventTypeNormal, EventPulled, "Successfully pulled image %q in %v (%v including waiting). Image size: %d bytes.",
				c.Name.Requested, e.Took.Truncate(time.Millisecond), p.now.Sub(c.Began).Truncate(time.Millisecond), e.Size)
			p.ready(c, e.Ref)
		}
		return
	}
	counted := map[backKey]bool{}
	for _, c := range waiting {
		p.emit(c, v1.EventTypeWarning, EventFailed, "Failed to pull image %q: %s", c.Name.Requested, e.Err)
		key := backKey{c.Key.UID, c.Name.Full}
		retryAt := p.now.Add(showError)
		// A pod backs off once for a failed pull, however many of its containers waited; a pull ahead of its turn makes no
		// back-off.
		if !c.Ahead && !counted[key] {
			counted[key] = true
			b := s.backoff[key]
			if b == nil {
				b = &backState{}
				s.backoff[key] = b
			}
			b.Backoff, b.until = b.Failed(policy.ImagePull(), p.now)
			b.last = e.Reason + ": " + e.Message
		}
		p.fail(c, e.Reason, e.Message, retryAt)
	}
}
