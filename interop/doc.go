// Package interop holds the scenarios that two and three of our own clients are
// driven through over gRPC. They are those of the MLS working group's test
// runner, so that most of what it would say is known without it.
package interop
