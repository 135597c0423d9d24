// Command stack runs a whole Sigstore on this machine: Fulcio, a CT log, a timestamp authority, both Rekors, and the
// issuers of the tokens that Fulcio takes. See ../README.md.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"
)

// Stack is one running Sigstore. The exported fields are addresses, known once the server is started.
type Stack struct {
	Issuer, Fulcio, RekorV1, RekorV2, TSA, CT string

	bin, state string
	keys       *Keys
	ports      *Ports
	processes  []*Process
	context    context.Context // ends when we are told to
}

func init() {
	runtime.LockOSThread() // see process_linux.go
}

func main() {
	bin := flag.String("bin", "", "folder of the servers' `binaries`; start.py makes it")
	state := flag.String("state", "", "empty or new `folder` for keys, logs and trust files; default: a temporary one")
	interactive := flag.Bool("interactive", false, "for people: say what to do, and run until Ctrl-C")
	flag.Parse()
	if *bin == "" || flag.NArg() > 0 {
		flag.Usage()
		os.Exit(2)
	}
	if err := run(*bin, *state, *interactive); err != nil {
		fmt.Fprintln(os.Stderr, "sigstore:", err)
		os.Exit(1)
	}
}

func run(bin, state string, interactive bool) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if !interactive {
		// Whoever started us has ended, or wants us to.
		go func() {
			_, _ = io.Copy(io.Discard, os.Stdin)
			stop()
		}()
	}

	folder, remove, err := stateFolder(state)
	if err != nil {
		return err
	}
	defer remove()
	s := &Stack{state: folder, context: ctx}
	defer s.stop()
	if s.bin, err = filepath.Abs(bin); err != nil {
		return err
	}
	if s.keys, err = newKeys(); err != nil {
		return err
	}
	if err := s.keys.write(folder); err != nil {
		return err
	}
	if s.ports, err = claimPorts(); err != nil {
		return err
	}
	if err := s.startServers(); err != nil {
		if ctx.Err() != nil {
			return nil // stopped while starting
		}
		return err
	}
	if err := s.writeTrust(); err != nil {
		return err
	}
	if interactive {
		s.explain()
	} else if err := json.NewEncoder(os.Stdout).Encode(s.describe()); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}

// stateFolder makes the folder. One that holds something is refused: the logs' trees are in memory and the keys are
// new, so nothing of an earlier run would fit.
func stateFolder(wanted string) (folder string, remove func(), err error) {
	if wanted == "" {
		folder, err = os.MkdirTemp("", "sigstore-")
		return folder, func() { _ = os.RemoveAll(folder) }, err
	}
	if folder, err = filepath.Abs(wanted); err != nil {
		return "", nil, err
	}
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return "", nil, err
	}
	if content, err := os.ReadDir(folder); err != nil {
		return "", nil, err
	} else if len(content) > 0 {
		return "", nil, errors.New("not empty: " + folder)
	}
	return folder, func() {}, nil
}

func (s *Stack) file(name string) string {
	return filepath.Join(s.state, name)
}

func (s *Stack) stop() {
	for _, process := range s.processes {
		process.stop()
	}
}

// describe is what tests read.
func (s *Stack) describe() map[string]string {
	all := map[string]string{
		"state":                s.state,
		"issuer":               s.Issuer,
		"fulcio":               s.Fulcio,
		"rekor_v1":             s.RekorV1,
		"rekor_v2":             s.RekorV2,
		"tsa":                  s.TSA,
		"ct":                   s.CT,
		"trust_config":         s.file("trust_config.json"),
		"trust_config_v1":      s.file("trust_config_v1.json"),
		"trusted_root":         s.file("trusted_root.json"),
		"trusted_root_expired": s.file("trusted_root_expired.json"),
		"signing_config":       s.file("signing_config.json"),
		"signing_config_v1":    s.file("signing_config_v1.json"),
		"token_file":           s.file("token"),
	}
	for name, file := range map[string]string{"cosign": "cosign", "sigstore_go": "sigstore-go-verification"} {
		if path := filepath.Join(s.bin, file); isFile(path) {
			all[name] = path
		}
	}
	return all
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

func (s *Stack) explain() {
	fmt.Printf(`A Sigstore runs on this machine until you press Ctrl-C. In another terminal:

    export MODEL_SIGNING_TRUST_CONFIG=%[1]s
    export MODEL_SIGNING_IDENTITY_TOKEN_FILE=%[2]s
    export MODEL_SIGNING_METHOD=sigstore

Now training signs its checkpoints with the identity of the service account "trainer", and so does

    model-signing sign MODEL

Whoever loads the model says whose signature it must be:

    model-signing verify MODEL --trust-config %[1]s \
        --identity https://kubernetes.io/namespaces/ml/serviceaccounts/trainer \
        --identity-provider %[3]s/kubernetes

Tokens of other shapes: POST %[3]s/NAME/token/mint. Logs: %[4]s
`, s.file("trust_config.json"), s.file("token"), s.Issuer, s.state)
}
