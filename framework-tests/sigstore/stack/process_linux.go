package main

import "syscall"

// attributes let no server outlive us, even when we are killed, and keep Ctrl-C in a terminal to ourselves.
//
// The kernel sends the signal when the thread that started the process ends; main therefore starts all of them from
// the main thread.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
}

// legacySocket is an abstract socket: it needs no file, and no path can be too long.
func legacySocket(_, unique string) string {
	return "@" + unique
}
