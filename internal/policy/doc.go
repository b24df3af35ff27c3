// Package policy holds the rules of the house as tests, and no code.
//
// imports.txt says which package may import which, with the reasons; a test
// reads it and names the offending chain. A second test walks the syntax trees
// of the pure packages: no goroutine, channel, clock, init, or package variable
// that is not an error, a table or an interface assertion.
package policy
