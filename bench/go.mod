module github.com/dmlsd/dmls/bench

go 1.26.6

require (
	github.com/dmlsd/dmls v0.0.0
	github.com/thomas-vilte/mls-go v1.6.0
)

require (
	github.com/cloudflare/circl v1.6.5 // indirect
	golang.org/x/crypto v0.57.0 // indirect
	golang.org/x/sys v0.48.0 // indirect
)

replace github.com/dmlsd/dmls => ..
