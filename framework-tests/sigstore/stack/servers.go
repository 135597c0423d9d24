package main

import (
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// startServers starts everything in the order in which one needs the other, and returns when all serve.
func (s *Stack) startServers() error {
	if err := s.startIssuer(); err != nil {
		return err
	}
	port, err := s.ports.port()
	if err != nil {
		return err
	}
	listener, err := listen(port)
	if err != nil {
		return err
	}
	logFile, err := os.Create(s.file("trillian.log"))
	if err != nil {
		return err
	}
	trees, err := serveTrillian(listener, logFile, 2)
	if err != nil {
		return err
	}

	config, err := s.ctConfig(trees[0])
	if err != nil {
		return err
	}
	// Rekor v1 serves metrics on this port of all interfaces, and does without where it is taken; here nothing listens
	// beyond this machine. Another stack may hold it already.
	if held, err := net.Listen("tcp", "127.0.0.1:2112"); err == nil {
		defer held.Close()
	}

	ct := s.ctServer(port, config)
	others := []Server{ct, s.timestampServer(), s.rekorV2(), s.rekorV1(port, trees[1])}
	processes := make([]*Process, len(others))
	for i, server := range others {
		if processes[i], err = s.start(server); err != nil {
			return err
		}
	}
	// Fulcio is told the CT log's address, which is final once that is up.
	if err := s.await(ct, processes[0]); err != nil {
		return err
	}
	fulcio, err := s.fulcio()
	if err != nil {
		return err
	}
	process, err := s.start(fulcio)
	if err != nil {
		return err
	}
	for i, server := range others[1:] {
		if err := s.await(server, processes[i+1]); err != nil {
			return err
		}
	}
	return s.await(fulcio, process)
}

func (s *Stack) startIssuer() error {
	s.Issuer = "http://" + s.ports.Claim.Addr().String()
	issuer, err := newIssuer(s.Issuer)
	if err != nil {
		return err
	}
	go func() { _ = http.Serve(s.ports.Claim, issuer.handler()) }()
	return issuer.keepTokenFile(s.file("token"))
}

func (s *Stack) ctConfig(tree int64) (string, error) {
	der, err := x509.MarshalPKCS8PrivateKey(s.keys.CT)
	if err != nil {
		return "", err
	}
	var escaped strings.Builder
	for _, value := range der {
		fmt.Fprintf(&escaped, `\x%02x`, value)
	}
	path := s.file("ct.cfg")
	text := fmt.Sprintf(`config {
  log_id: %d
  prefix: "ct"
  max_merge_delay_sec: 86400
  roots_pem_file: %q
  ext_key_usages: "CodeSigning"
  private_key: { [type.googleapis.com/keyspb.PrivateKey] { der: "%s" } }
}
`, tree, s.file("fulcio-root.pem"), escaped.String())
	return path, os.WriteFile(path, []byte(text), 0o600)
}

func (s *Stack) ctServer(trillian int, config string) Server {
	return Server{"ct_server", 1, func(ports []int) ([]string, string) {
		s.CT = "http://" + address(ports[0]) + "/ct"
		return []string{
			"--http_endpoint=" + address(ports[0]),
			"--log_rpc_server=" + address(trillian),
			"--log_config=" + config,
			"--get_sth_interval=0",
		}, s.CT + "/ct/v1/get-roots"
	}}
}

func (s *Stack) timestampServer() Server {
	return Server{"timestamp-server", 1, func(ports []int) ([]string, string) {
		base := "http://" + address(ports[0])
		s.TSA = base + "/api/v1/timestamp"
		return []string{
			"--port=" + strconv.Itoa(ports[0]),
			"--file-signer-key-path=" + s.file("tsa.key.pem"),
			"--certificate-chain-path=" + s.file("tsa-chain.pem"),
		}, base + "/ping"
	}}
}

func (s *Stack) rekorV2() Server {
	return Server{"rekor-v2", 3, func(ports []int) ([]string, string) {
		s.RekorV2 = "http://" + address(ports[0])
		return []string{
			"serve",
			"--http-address=127.0.0.1", "--http-port=" + strconv.Itoa(ports[0]),
			"--grpc-address=127.0.0.1", "--grpc-port=" + strconv.Itoa(ports[1]),
			"--http-metrics-port=" + strconv.Itoa(ports[2]),
			"--hostname=" + originV2,
			"--storage-dir=" + s.file("rekor-v2"),
			"--signer-filepath=" + s.file("rekor-v2.key.pem"),
			"--checkpoint-interval=500ms", "--batch-max-age=50ms",
			"--log-level=warn",
		}, s.RekorV2 + "/healthz"
	}}
}

func (s *Stack) rekorV1(trillian int, tree int64) Server {
	return Server{"rekor-v1", 1, func(ports []int) ([]string, string) {
		s.RekorV1 = "http://" + address(ports[0])
		return []string{
			"serve",
			"--rekor_server.address=127.0.0.1", "--port=" + strconv.Itoa(ports[0]),
			"--rekor_server.hostname=" + originV1,
			"--rekor_server.signer=" + s.file("rekor-v1.key.pem"),
			"--trillian_log_server.address=127.0.0.1", "--trillian_log_server.port=" + strconv.Itoa(trillian),
			"--trillian_log_server.tlog_id=" + strconv.FormatInt(tree, 10),
			// With these, it needs no Redis and no MySQL.
			"--enable_retrieve_api=false",
			"--enabled_api_endpoints=getLogInfo,getPublicKey,getLogProof,createLogEntry,getLogEntryByIndex," +
				"getLogEntryByUUID,searchLogQuery",
		}, s.RekorV1 + "/api/v1/log/publicKey"
	}}
}

func (s *Stack) fulcio() (Server, error) {
	config, err := json.MarshalIndent(fulcioConfig(s.Issuer), "", "  ")
	if err != nil {
		return Server{}, err
	}
	// Fulcio takes what parses as JSON for its older format with other names; the comment makes it YAML.
	config = append([]byte("# see kinds in tokens.go\n"), config...)
	if err := os.WriteFile(s.file("fulcio.yaml"), config, 0o600); err != nil {
		return Server{}, err
	}
	return Server{"fulcio", 3, func(ports []int) ([]string, string) {
		s.Fulcio = "http://" + address(ports[0])
		socket := legacySocket(s.state, fmt.Sprintf("autosign-%d-%s", os.Getpid(), filepath.Base(s.state)))
		return []string{
			"serve",
			"--host=127.0.0.1", "--port=" + strconv.Itoa(ports[0]),
			"--grpc-host=127.0.0.1", "--grpc-port=" + strconv.Itoa(ports[1]),
			"--metrics-port=" + strconv.Itoa(ports[2]),
			"--legacy-unix-domain-socket=" + socket,
			"--ca=fileca", "--fileca-watch=false",
			"--fileca-cert=" + s.file("fulcio-chain.pem"),
			"--fileca-key=" + s.file("fulcio.key.pem"),
			"--fileca-key-passwd=unused", // it must be there; the key has none
			"--ct-log-url=" + s.CT,
			"--ct-log-public-key-path=" + s.file("ct.pub.pem"),
			"--config-path=" + s.file("fulcio.yaml"),
			"--log_type=prod",
		}, s.Fulcio + "/healthz"
	}}, nil
}
