package main

import (
	"crypto"
	"crypto/rand"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"
)

const life = 10 * time.Minute

// Issuer is an OpenID Connect issuer for each name in kinds, GitHub's endpoint that gives tokens to jobs, and Google's
// metadata server.
type Issuer struct {
	url    string
	keys   *tokenKeys
	logins *logins
}

func newIssuer(url string) (*Issuer, error) {
	keys, err := newTokenKeys()
	return &Issuer{url: url, keys: keys, logins: newLogins()}, err
}

func (i *Issuer) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{name}/.well-known/openid-configuration", i.known(i.discovery))
	mux.HandleFunc("GET /{name}/keys", i.known(func(w http.ResponseWriter, _ *http.Request, _ string) {
		reply(w, http.StatusOK, i.keys.jwks())
	}))
	mux.HandleFunc("POST /{name}/token/mint", i.known(i.mint))
	mux.HandleFunc("GET /{name}/authorize", i.known(i.authorize))
	mux.HandleFunc("POST /{name}/token", i.known(i.redeem))
	mux.HandleFunc("GET /github/runner/token", i.runner)
	mux.HandleFunc("GET /computeMetadata/v1/instance/service-accounts/default/identity", metadata(i.identity))
	// Google's libraries ask for this to see whether there is a metadata server.
	mux.HandleFunc("GET /{$}", metadata(func(http.ResponseWriter, *http.Request) {}))
	return mux
}

func (i *Issuer) known(handle func(w http.ResponseWriter, r *http.Request, name string)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		name := r.PathValue("name")
		if _, known := kinds[name]; !known {
			http.NotFound(w, r)
			return
		}
		handle(w, r, name)
	}
}

func (i *Issuer) discovery(w http.ResponseWriter, _ *http.Request, name string) {
	url := i.url + "/" + name
	reply(w, http.StatusOK, object{
		"issuer":                                url,
		"jwks_uri":                              url + "/keys",
		"authorization_endpoint":                url + "/authorize",
		"token_endpoint":                        url + "/token",
		"id_token_signing_alg_values_supported": []string{"ES256", "RS256"},
		"response_types_supported":              []string{"code"},
		"subject_types_supported":               []string{"public"},
		"scopes_supported":                      []string{"openid", "email"},
		"code_challenge_methods_supported":      []string{"S256"},
		"grant_types_supported":                 []string{"authorization_code"},
	})
}

// sign makes a token of an issuer.
func (i *Issuer) sign(name string, ttl time.Duration, changes object) (string, error) {
	return signToken(i.key(name), kinds[name].token(i.url+"/"+name, ttl, changes))
}

func (i *Issuer) key(name string) crypto.Signer {
	if kinds[name].rsa {
		return i.keys.rsa
	}
	return i.keys.ec
}

// mint makes whatever token a test asks for, bad ones too.
func (i *Issuer) mint(w http.ResponseWriter, r *http.Request, name string) {
	changes := object{}
	decoder := json.NewDecoder(r.Body)
	decoder.UseNumber() // a large integer stays one
	if err := decoder.Decode(&changes); err != nil && err != io.EOF {
		http.Error(w, "body: "+err.Error(), http.StatusBadRequest)
		return
	}
	ttl, key := life, i.key(name)
	if text := r.URL.Query().Get("ttl"); text != "" {
		seconds, err := strconv.Atoi(text)
		if err != nil {
			http.Error(w, "ttl: "+err.Error(), http.StatusBadRequest)
			return
		}
		ttl = time.Duration(seconds) * time.Second
	}
	switch text := r.URL.Query().Get("key"); text {
	case "":
	case "unknown":
		key = i.keys.unknown
	default:
		http.Error(w, "key: only \"unknown\"", http.StatusBadRequest)
		return
	}
	token, err := signToken(key, kinds[name].token(i.url+"/"+name, ttl, changes))
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	plain(w, token)
}

// runner is where a GitHub job gets its token (ACTIONS_ID_TOKEN_REQUEST_URL and ..._TOKEN).
func (i *Issuer) runner(w http.ResponseWriter, r *http.Request) {
	scheme, secret, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "bearer") || secret != "RUNNER" {
		reply(w, http.StatusUnauthorized, object{"message": "bad credentials"})
		return
	}
	changes := object{}
	if audience := r.URL.Query().Get("audience"); audience != "" {
		changes["aud"] = audience
	} else {
		changes["aud"] = "https://github.com/acme" // GitHub's default: the owner
	}
	token, err := i.sign("github", life, changes)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	reply(w, http.StatusOK, object{"count": len(token), "value": token})
}

// metadata is what all paths of Google's metadata server have in common.
func metadata(handle http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Metadata-Flavor", "Google")
		if r.Header.Get("Metadata-Flavor") != "Google" {
			http.Error(w, "missing header Metadata-Flavor", http.StatusForbidden)
			return
		}
		handle(w, r)
	}
}

func (i *Issuer) identity(w http.ResponseWriter, r *http.Request) {
	audience := r.URL.Query().Get("audience")
	if audience == "" {
		http.Error(w, "non-empty audience parameter required", http.StatusBadRequest)
		return
	}
	changes := object{"aud": audience}
	if r.URL.Query().Get("format") != "full" {
		changes["email"], changes["email_verified"] = nil, nil
	}
	token, err := i.sign("gcp", time.Hour, changes)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	plain(w, token)
}

// keepTokenFile writes a Kubernetes token and renews it every minute, replacing the file as kubelet does.
func (i *Issuer) keepTokenFile(path string) error {
	write := func() error {
		token, err := i.sign("kubernetes", time.Hour, nil)
		if err != nil {
			return err
		}
		if err := os.WriteFile(path+".new", []byte(token), 0o600); err != nil {
			return err
		}
		return os.Rename(path+".new", path)
	}
	if err := write(); err != nil {
		return err
	}
	go func() {
		for range time.Tick(time.Minute) {
			_ = write() // the folder is gone when we are about to end
		}
	}()
	return nil
}

func reply(w http.ResponseWriter, status int, content object) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(content)
}

func plain(w http.ResponseWriter, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	_, _ = io.WriteString(w, text)
}

func random() string {
	return rand.Text()
}
