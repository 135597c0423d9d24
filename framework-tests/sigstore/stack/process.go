package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Process is a server that we started.
type Process struct {
	name  string
	log   string
	ready string // URL that answers 200 once it serves
	cmd   *exec.Cmd
	ended chan struct{}
}

// Server says how to start one: its arguments on these ports, and the URL to poll.
type Server struct {
	name  string
	ports int
	args  func(ports []int) (args []string, ready string)
}

// start runs a server on ports of its own. Its output goes to STATE/NAME.log, its process id to STATE/NAME.pid: tests
// that stop one server need it.
func (s *Stack) start(server Server) (*Process, error) {
	ports := make([]int, server.ports)
	for i := range ports {
		var err error
		if ports[i], err = s.ports.port(); err != nil {
			return nil, err
		}
	}
	args, ready := server.args(ports)

	process := &Process{name: server.name, log: s.file(server.name + ".log"), ready: ready, ended: make(chan struct{})}
	output, err := os.Create(process.log)
	if err != nil {
		return nil, err
	}
	defer func() { _ = output.Close() }()

	process.cmd = exec.Command(filepath.Join(s.bin, server.name), args...)
	process.cmd.Dir = s.state
	process.cmd.Stdout, process.cmd.Stderr = output, output
	process.cmd.Env = cleanEnvironment(s.state)
	process.cmd.SysProcAttr = attributes()
	if err := process.cmd.Start(); err != nil {
		return nil, fmt.Errorf("%s: %w", server.name, err)
	}
	s.processes = append(s.processes, process)
	go func() {
		_ = process.cmd.Wait()
		close(process.ended)
	}()
	pid := strconv.Itoa(process.cmd.Process.Pid)
	return process, os.WriteFile(s.file(server.name+".pid"), []byte(pid+"\n"), 0o600)
}

// cleanEnvironment keeps the developer's settings out: these servers read variables with names such as HOST and PORT,
// and configuration files in the home folder. Nothing here is reached through a proxy.
func cleanEnvironment(home string) []string {
	return []string{"PATH=" + os.Getenv("PATH"), "HOME=" + home, "TMPDIR=" + home}
}

// await returns once the server serves. One whose port was taken between our look and its start gets other ports.
func (s *Stack) await(server Server, process *Process) error {
	for attempts := 1; ; attempts++ {
		err := process.await(s.context, 60*time.Second)
		if err == nil {
			return nil
		}
		if attempts == 5 || s.context.Err() != nil || !process.lacksPort() {
			text, _ := os.ReadFile(process.log)
			return fmt.Errorf("%s: %w\n%s", server.name, err, lastLines(string(text), 20))
		}
		process.stop()
		if process, err = s.start(server); err != nil {
			return err
		}
	}
}

func (p *Process) await(ctx context.Context, patience time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	client := http.Client{Timeout: 2 * time.Second}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-p.ended:
			return fmt.Errorf("ended at start: %s", p.cmd.ProcessState)
		case <-ctx.Done():
			return fmt.Errorf("not ready: %w", ctx.Err())
		case <-tick.C:
			answer, err := client.Get(p.ready)
			if err == nil {
				_ = answer.Body.Close()
				if answer.StatusCode == http.StatusOK {
					return nil
				}
			}
			if p.lacksPort() { // ct_server does not end then
				return errors.New("port taken")
			}
		}
	}
}

func (p *Process) lacksPort() bool {
	text, _ := os.ReadFile(p.log)
	return bytes.Contains(text, []byte("address already in use"))
}

// stop kills: all that a server holds is thrown away, so none needs to end gracefully, and one that a test has stopped
// with SIGSTOP could not.
func (p *Process) stop() {
	_ = p.cmd.Process.Kill()
	<-p.ended
}

func lastLines(text string, count int) string {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-count):], "\n")
}
