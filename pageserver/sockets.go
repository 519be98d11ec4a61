package pageserver

import (
	"fmt"
	"math"
	"os"
	"strconv"
	"strings"
)

// What a socket holds at the most is among the kernel's settings (tcp(7), socket(7)): the last number of the first two, which the kernel
// goes up to by itself, and twice the third, which is what a program may ask for.
const (
	sendSetting    = "/proc/sys/net/ipv4/tcp_wmem"
	receiveSetting = "/proc/sys/net/ipv4/tcp_rmem"
	askedSetting   = "/proc/sys/net/core/rmem_max"
)

// socketSlack is what sockets may hold beyond: packets that were on their way when they were full.
const socketSlack = 1 << 20

// roomOfSockets is how many bytes two sockets of this machine, a sending and a receiving one, hold at the most. Where that is not known
// it is more than any file has.
func roomOfSockets() int64 {
	send, err1 := lastNumber(sendSetting)
	receive, err2 := lastNumber(receiveSetting)
	if err1 != nil || err2 != nil {
		return math.MaxInt64
	}
	asked, _ := lastNumber(askedSetting) // not to be seen in some containers, and by default less than the others
	return send + max(receive, 2*asked) + socketSlack
}

func lastNumber(name string) (int64, error) {
	b, err := os.ReadFile(name)
	if err != nil {
		return 0, err
	}
	words := strings.Fields(string(b))
	if len(words) == 0 {
		return 0, fmt.Errorf("%s is empty", name)
	}
	return strconv.ParseInt(words[len(words)-1], 10, 64)
}
