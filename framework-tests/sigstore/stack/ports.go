package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
)

// Ports is a block of ports that no other stack uses: its first port is held open as the claim, so that stacks side by
// side need no file to agree by. Below 32768, where the kernel picks no port for outgoing connections.
type Ports struct {
	Claim net.Listener // the issuer listens on it
	next  int
}

const (
	lowest, highest = 20000, 32000
	block           = 40 // a stack needs ten; the rest is for those that somebody else holds
)

func claimPorts() (*Ports, error) {
	for range 100 {
		first := lowest + block*rand.IntN((highest-lowest)/block)
		if listener, err := listen(first); err == nil {
			return &Ports{Claim: listener, next: first + 1}, nil
		}
	}
	return nil, errors.New("no free block of ports")
}

// port gives the next port of the block that is free.
func (p *Ports) port() (int, error) {
	for (p.next-lowest)%block != 0 { // at the next stack's first port, the block is used up
		port := p.next
		p.next++
		if listener, err := listen(port); err == nil {
			return port, listener.Close()
		}
	}
	return 0, errors.New("all ports of the block are taken")
}

func listen(port int) (net.Listener, error) {
	return net.Listen("tcp", address(port))
}

func address(port int) string {
	return fmt.Sprintf("127.0.0.1:%d", port)
}
