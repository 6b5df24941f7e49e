package userns

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os/exec"
	"os/user"

	"github.com/troupe-dev/troupe/actors/userns/usernsplan"
	"github.com/troupe-dev/troupe/messages/model"
)

// account is whose subordinate ids pods get (kubelet: pkg/kubelet/kubelet_pods.go, KEP-127).
const account = "kubelet"

// Subids finds the ids that pods may have: those that the host gives to the kubelet's account, or all but the first range
// when there is no such account or no tool to ask. An account without ids is an error: its source may be out of reach, and
// other ids may belong to somebody else.
func Subids(ctx context.Context, perPod uint32) (model.IDRange, error) {
	if _, err := user.Lookup(account); err != nil {
		var unknown user.UnknownUserError
		if errors.As(err, &unknown) {
			return usernsplan.Default(perPod), nil
		}
		return model.IDRange{}, fmt.Errorf("look up user %s: %w", account, err)
	}
	tool, err := exec.LookPath("getsubids")
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, exec.ErrNotFound) {
			return usernsplan.Default(perPod), nil
		}
		return model.IDRange{}, err
	}
	uids, err := exec.CommandContext(ctx, tool, account).Output()
	if err != nil {
		return model.IDRange{}, fmt.Errorf("subordinate user ids of %s: %w", account, err)
	}
	gids, err := exec.CommandContext(ctx, tool, "-g", account).Output()
	if err != nil {
		return model.IDRange{}, fmt.Errorf("subordinate group ids of %s: %w", account, err)
	}
	if string(uids) != string(gids) {
		return model.IDRange{}, fmt.Errorf("user %s has other subordinate user ids than group ids", account)
	}
	return usernsplan.ParseSubids(string(uids))
}
