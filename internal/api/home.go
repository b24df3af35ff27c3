package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// markName is the file that "dmlsd init" leaves when a home is complete.
const markName = "dmlsd.json"

// Initialised says whether a home was made by "dmlsd init". One that cannot be
// looked into counts: what opens it next says why it cannot.
func Initialised(home string) bool {
	_, err := os.Stat(filepath.Join(home, markName))
	return !errors.Is(err, fs.ErrNotExist)
}

// MarkInitialised completes a home.
func MarkInitialised(home string, id Identity) error {
	b, err := json.Marshal(struct {
		Schema string `json:"schema"`
		ID     string `json:"id"`
		Name   string `json:"name"`
		Peer   string `json:"peer"`
	}{"dmlsd/home/v1", id.ID, id.Name, id.Peer})
	if err != nil {
		return fmt.Errorf("api: %w", err)
	}
	if err := os.WriteFile(filepath.Join(home, markName), append(b, '\n'), 0o600); err != nil {
		return fmt.Errorf("api: %w", err)
	}
	return nil
}

// Unmark takes what MarkInitialised and a daemon have left in a home, and the
// home if nothing else is in it.
func Unmark(home string) error {
	for _, name := range []string{markName, socketName, pointerName} {
		if err := os.Remove(filepath.Join(home, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("api: %w", err)
		}
	}
	if rest, err := os.ReadDir(home); err != nil || len(rest) > 0 {
		return err
	}
	return os.Remove(home)
}

// NotInitialised is the error for a home without an identity.
func NotInitialised(home string) *Error {
	return &Error{What: "no identity", Why: home + " was not made by dmlsd init", Fix: "create it with: dmlsd init --name NAME, or name another home with --home", Code: NotFound}
}
