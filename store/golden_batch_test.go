package store_test

import (
	"bytes"
	"fmt"
	"strconv"

	"github.com/dmlsd/dmls/group"
)

// goldenBatch is batch n of the golden stores in testdata. Never change it.
func goldenBatch(n int) []group.Op {
	ops := []group.Op{{Key: "d/n", Value: []byte(strconv.Itoa(n)), Class: group.Secret}}
	for i := range 8 {
		op := group.Op{Key: fmt.Sprintf("g/%02d", (n*5+i*3)%40), Class: group.Class(1 + (n+i)%3)}
		if (n+i)%5 > 0 {
			op.Value = bytes.Repeat([]byte{byte(n), byte(i)}, 1+(n*i*37)%900)
		}
		ops = append(ops, op)
	}
	if n == 7 { // in parts; public, so that the file stays small
		ops = append(ops, group.Op{Key: "g/long", Value: bytes.Repeat([]byte("long "), 120<<10), Class: group.Public})
	}
	return ops
}
