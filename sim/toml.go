package sim

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"github.com/pelletier/go-toml/v2"
)

// Parse reads a scenario from TOML. A key that the schema does not have is an
// error; errors name the line.
func Parse(b []byte) (Scenario, error) {
	var s Scenario
	err := toml.NewDecoder(bytes.NewReader(b)).DisallowUnknownFields().Decode(&s)
	var strict *toml.StrictMissingError
	var place *toml.DecodeError
	switch {
	case errors.As(err, &strict):
		var all []string
		for _, e := range strict.Errors {
			line, _ := e.Position()
			all = append(all, fmt.Sprintf("line %d: no key %q in the schema", line, strings.Join(e.Key(), ".")))
		}
		return Scenario{}, fmt.Errorf("%w: %s", ErrScenario, strings.Join(all, "; "))
	case errors.As(err, &place):
		line, column := place.Position()
		return Scenario{}, fmt.Errorf("%w: line %d, column %d: %s", ErrScenario, line, column, strings.TrimPrefix(place.Error(), "toml: "))
	case err != nil:
		return Scenario{}, fmt.Errorf("%w: %w", ErrScenario, err)
	}
	return s, s.Validate()
}

// TOML is the scenario as a file that Parse reads.
func (s *Scenario) TOML() ([]byte, error) {
	var b bytes.Buffer
	if err := toml.NewEncoder(&b).Encode(s); err != nil {
		return nil, fmt.Errorf("sim: %w", err)
	}
	return b.Bytes(), nil
}
