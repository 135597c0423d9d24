package main

import (
	"crypto/sha256"
	"net"
	"net/http"
	"net/url"
	"sync"
)

// outOfBand is the redirect of a command on a machine without a browser: the page shows the code, a person copies it.
const outOfBand = "urn:ietf:wg:oauth:2.0:oob"

// logins are the authorization codes that were given out and not yet redeemed.
type logins struct {
	mutex sync.Mutex
	codes map[string]login
}

type login struct {
	name, redirect, challenge, nonce string
}

func newLogins() *logins {
	return &logins{codes: map[string]login{}}
}

func (l *logins) add(entry login) string {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	code := random()
	l.codes[code] = entry
	return code
}

// take gives a code's login once.
func (l *logins) take(code string) (login, bool) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	entry, found := l.codes[code]
	delete(l.codes, code)
	return entry, found
}

// authorize is where the browser goes. Everybody is logged in at once.
func (i *Issuer) authorize(w http.ResponseWriter, r *http.Request, name string) {
	query := r.URL.Query()
	redirect, problem := url.Parse(query.Get("redirect_uri"))
	switch {
	case problem != nil || query.Get("redirect_uri") != outOfBand && !isLoopback(redirect):
		refuse(w, "invalid_request", "redirect_uri must be http on a loopback address, or "+outOfBand)
	case query.Get("response_type") != "code":
		refuse(w, "unsupported_response_type", "response_type must be code")
	case query.Get("client_id") != "sigstore":
		refuse(w, "unauthorized_client", "client_id must be sigstore")
	case query.Get("code_challenge_method") != "S256" || len(query.Get("code_challenge")) != 43:
		refuse(w, "invalid_request", "code_challenge must be there, by S256")
	case query.Get("state") == "" || query.Get("nonce") == "":
		refuse(w, "invalid_request", "state and nonce must be there")
	default:
		code := i.logins.add(login{
			name:      name,
			redirect:  query.Get("redirect_uri"),
			challenge: query.Get("code_challenge"),
			nonce:     query.Get("nonce"),
		})
		if query.Get("redirect_uri") == outOfBand {
			plain(w, code)
			return
		}
		answer := redirect.Query()
		answer.Set("code", code)
		answer.Set("state", query.Get("state"))
		redirect.RawQuery = answer.Encode()
		http.Redirect(w, r, redirect.String(), http.StatusFound)
	}
}

// redeem gives the token for a code.
func (i *Issuer) redeem(w http.ResponseWriter, r *http.Request, name string) {
	client, _, basic := r.BasicAuth()
	if !basic {
		client = r.PostFormValue("client_id")
	}
	entry, found := i.logins.take(r.PostFormValue("code"))
	sum := sha256.Sum256([]byte(r.PostFormValue("code_verifier")))
	switch {
	case r.PostFormValue("grant_type") != "authorization_code":
		refuse(w, "unsupported_grant_type", "grant_type must be authorization_code")
	case client != "sigstore":
		refuse(w, "invalid_client", "client_id must be sigstore")
	case !found || entry.name != name:
		refuse(w, "invalid_grant", "the code is unknown, or was redeemed before")
	case entry.redirect != r.PostFormValue("redirect_uri"):
		refuse(w, "invalid_grant", "redirect_uri is not that of the login")
	case entry.challenge != base64url(sum[:]):
		refuse(w, "invalid_grant", "code_verifier does not match the challenge")
	default:
		token, err := i.sign(name, life, object{"nonce": entry.nonce})
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		reply(w, http.StatusOK, object{
			"token_type":   "Bearer",
			"access_token": random(),
			"id_token":     token,
			"expires_in":   int(life.Seconds()),
		})
	}
}

func isLoopback(redirect *url.URL) bool {
	host := redirect.Hostname()
	return redirect.Scheme == "http" && (host == "localhost" || net.ParseIP(host).IsLoopback())
}

func refuse(w http.ResponseWriter, problem, description string) {
	reply(w, http.StatusBadRequest, object{"error": problem, "error_description": description})
}
