// Command mls-interop serves the MLS working group's test runner, on loopback.
package main

import (
	"flag"
	"fmt"
	"net"
	"os"
	"strconv"

	"google.golang.org/grpc"

	"github.com/dmlsd/dmls/interop/client"
	"github.com/dmlsd/dmls/interop/pb"
)

func main() {
	port := flag.Uint("port", 50004, "TCP port on loopback; 0: any")
	flag.Parse()
	if err := serve(*port); err != nil {
		fmt.Fprintln(os.Stderr, "mls-interop:", err)
		os.Exit(1)
	}
}

func serve(port uint) error {
	l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.FormatUint(uint64(port), 10)))
	if err != nil {
		return err
	}
	fmt.Println("listening on", l.Addr())
	s := grpc.NewServer()
	pb.RegisterMLSClientServer(s, client.New())
	return s.Serve(l)
}
