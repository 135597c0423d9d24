//go:build !linux

package main

import (
	"path/filepath"
	"syscall"
)

func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}

func legacySocket(state, _ string) string {
	return filepath.Join(state, "fulcio.sock")
}
