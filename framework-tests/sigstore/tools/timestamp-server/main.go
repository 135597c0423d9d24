// Upstream's timestamp server without its metrics listener.
//
// The command timestamp-server always listens on port 2112 of all interfaces and ends when that port is taken, so two
// stacks could not run side by side. This starts the same REST server with the same handlers and nothing else; what
// upstream reads from flags comes from the same names here.
package main

import (
	"flag"
	"log"
	"time"

	"github.com/sigstore/timestamp-authority/v2/pkg/server"
	"github.com/spf13/viper"
)

func main() {
	port := flag.Int("port", 0, "port on 127.0.0.1")
	key := flag.String("file-signer-key-path", "", "private key, PEM")
	chain := flag.String("certificate-chain-path", "", "certificates, leaf first, PEM")
	flag.Parse()

	const policy = "1.3.6.1.4.1.57264.2"
	for name, value := range map[string]any{
		"timestamp-signer":         "file",
		"timestamp-signer-hash":    "sha256",
		"file-signer-key-path":     *key,
		"certificate-chain-path":   *chain,
		"enforce-intermediate-eku": true,
		"default-policy-oid":       policy,
		"accepted-policy-oids":     []string{policy},
		"max-request-body-size":    1 << 20,
	} {
		viper.Set(name, value)
	}

	rest := server.NewRestAPIServer("127.0.0.1", *port, []string{"http"}, false, 10*time.Second, 10*time.Second)
	rest.CleanupTimeout = time.Second
	if err := rest.Serve(); err != nil {
		log.Fatal(err)
	}
}
