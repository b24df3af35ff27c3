// Package pb is the wire interface of the MLS working group's test runner,
// generated from mls_client.proto.
package pb

//go:generate protoc --go_out=. --go_opt=paths=source_relative --go-grpc_out=. --go-grpc_opt=paths=source_relative mls_client.proto
