// Package inspect lets a person look inside: the tree of actors as JSON and as a page, and why a pod is where it is, in
// one sentence with its evidence. It reads snapshots and never sends a message to an actor.
package inspect

import (
	"fmt"
	"time"

	"github.com/troupe-dev/troupe/messages/model"
)

// Sentence says in one sentence where the pod stands and, when it is not where it should be, what it waits for, what
// went wrong and when it is tried again. It is a pure function.
func Sentence(e model.PodExplain, now time.Time) string {
	name := "Pod " + e.Namespace + "/" + e.Name
	switch e.Stage {
	case "Finished":
		return name + " has ended" + phaseWord(e) + " and nothing of it is left on the node" + blocked(e, now) + "."
	case "Ended":
		return name + " has ended" + phaseWord(e) + " and is being cleaned up" + forTime(e.Since, now) + ending(e, now) + "."
	case "Ending":
		return name + " is ending" + forTime(e.Since, now) + reasonWord(e) + ending(e, now) + "."
	}
	if e.Ready {
		return name + " is ready: " + runs(e, now) + "."
	}
	if cause := podCause(e, now); cause != "" {
		return name + " is not ready: " + cause + "."
	}
	if c := firstUnready(e); c != nil {
		return name + " is not ready: " + containerCause(*c, e, now) + "."
	}
	return name + " is not ready: it is " + stageWords(e.Stage) + forTime(e.Since, now) + "."
}

// phaseWord adds the phase of a pod that has ended.
func phaseWord(e model.PodExplain) string {
	if e.Phase == "Succeeded" || e.Phase == "Failed" {
		return " as " + e.Phase + reasonWord(e)
	}
	return reasonWord(e)
}

func reasonWord(e model.PodExplain) string {
	if e.Reason == "" {
		return ""
	}
	return " (" + brief(e.Reason) + ")"
}

// runs describes a pod that is as it should be.
func runs(e model.PodExplain, now time.Time) string {
	up, restarts := 0, int32(0)
	for _, c := range e.Containers {
		if c.Stage == model.StageUp.String() {
			up++
		}
		restarts += c.Restarts
	}
	s := fmt.Sprintf("its %d containers run", up)
	if up == 1 {
		s = "its container runs"
	}
	if !e.Since.IsZero() {
		s += ", and it has been " + stageWords(e.Stage) + forTime(e.Since, now)
	}
	if restarts > 0 {
		s += fmt.Sprintf("; restarts: %d", restarts)
	}
	return s
}

// podCause is what holds up the pod as a whole; "" when only its containers do.
func podCause(e model.PodExplain, now time.Time) string {
	if len(e.Blockers) > 0 && e.Blockers[0].Kind != model.BlockedByContainers {
		b := e.Blockers[0]
		s := "it waits for " + brief(b.What) + forTime(b.Since, now)
		if call := oldest(e.InFlight); call != nil && b.Kind == model.BlockedBySandbox {
			s = "it waits for its sandbox; " + inFlight(*call, now)
		}
		return s + failures(e, now)
	}
	if call := oldest(e.InFlight); call != nil {
		return inFlight(*call, now) + failures(e, now)
	}
	if e.Failures > 0 {
		return "it is " + stageWords(e.Stage) + failures(e, now)
	}
	return ""
}

// inFlight names a call that has not answered.
func inFlight(c model.CallView, now time.Time) string {
	if c.Overdue {
		return c.Op + " has not answered for " + span(now.Sub(c.Since)) + ", longer than such calls take"
	}
	return c.Op + " has been in progress for " + span(now.Sub(c.Since))
}

// failures tells how often what the pod does now has failed, and when it is tried again.
func failures(e model.PodExplain, now time.Time) string {
	if e.Failures == 0 {
		return nextTry(e.RetryAt, now)
	}
	return "; it has failed " + times(e.Failures) + because("", e.LastError) + nextTry(e.RetryAt, now)
}

// blocked adds what keeps a pod that has nothing left to do.
func blocked(e model.PodExplain, now time.Time) string {
	if len(e.Blockers) == 0 {
		return ""
	}
	return "; it waits for " + brief(e.Blockers[0].What) + forTime(e.Blockers[0].Since, now)
}

// ending says what holds up the end of a pod.
func ending(e model.PodExplain, now time.Time) string {
	var live []string
	for _, c := range e.Containers {
		switch c.Stage {
		case model.StageUp.String(), model.StageStopping.String(), model.StageStarting.String(), model.StageCreating.String(), model.StageDoubt.String():
			live = append(live, c.Name)
		}
	}
	s := ""
	if len(live) > 0 {
		s = ": " + plural(len(live), "container") + " " + list(live) + " " + verb(len(live), "has", "have") + " not stopped yet"
		if e.Deadline.After(now) {
			s += "; the grace period has " + span(e.Deadline.Sub(now)) + " left"
		} else if !e.Deadline.IsZero() {
			s += "; the grace period ended " + span(now.Sub(e.Deadline)) + " ago"
		}
		for _, c := range e.Containers {
			if call := oldest(c.InFlight); call != nil {
				return s + "; " + inFlight(*call, now) + " for " + c.Name
			}
		}
		return s
	}
	s = blocked(e, now)
	if call := oldest(e.InFlight); call != nil {
		s += "; " + inFlight(*call, now)
	}
	return s + failures(e, now)
}

func plural(n int, word string) string {
	if n == 1 {
		return word
	}
	return word + "s"
}

func verb(n int, one, many string) string {
	if n == 1 {
		return one
	}
	return many
}

// stageWords puts a stage into a sentence.
func stageWords(stage string) string {
	switch stage {
	case "Queued":
		return "queued"
	case "Starting":
		return "starting"
	case "Initializing":
		return "initializing"
	case "Running":
		return "running"
	case "":
		return "not known yet"
	}
	return "in stage " + stage
}
