package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"time"
)

// kind says what the tokens of one issuer look like and what Fulcio is told about it.
type kind struct {
	fulcio object // beside issuer-url and client-id
	rsa    bool   // RS256, else ES256
	claims object // beside iss, iat, nbf, exp, and aud "sigstore"
}

const sha = "0123456789abcdef0123456789abcdef01234567"

var kinds = map[string]kind{
	"email": {
		fulcio: object{"type": "email"},
		rsa:    true,
		claims: object{"sub": "CgVhbGljZRIFbG9jYWw", "email": "alice@example.test", "email_verified": true},
	},
	"gcp": {
		fulcio: object{"type": "email"},
		rsa:    true,
		claims: object{"sub": "104857600104857600104", "azp": "104857600104857600104",
			"email": "trainer@proj.iam.gserviceaccount.com", "email_verified": true},
	},
	"kubernetes": {
		fulcio: object{"type": "kubernetes"},
		rsa:    true,
		claims: object{"sub": "system:serviceaccount:ml:trainer", "aud": []string{"sigstore"},
			"kubernetes.io": object{
				"namespace":      "ml",
				"node":           object{"name": "gpu-1", "uid": "9c3b5d0e-7a44-4c52-9a39-3f0a3f5a2d11"},
				"pod":            object{"name": "train-0", "uid": "5ad0f7c3-0c21-4a3c-8a3f-0f3a1e7f6c02"},
				"serviceaccount": object{"name": "trainer", "uid": "8b1de0a6-2f6b-4f6e-9d0b-64c5b9a3f1aa"},
			}},
	},
	"spiffe": {
		fulcio: object{"type": "spiffe", "spiffe-trust-domain": "example.test"},
		claims: object{"sub": "spiffe://example.test/ns/ml/sa/trainer", "aud": []string{"sigstore"}},
	},
	"uri": {
		fulcio: object{"type": "uri", "subject-domain": "http://127.0.0.1"},
		claims: object{"sub": "http://127.0.0.1/trainer"},
	},
	"username": {
		fulcio: object{"type": "username", "subject-domain": "127.0.0.1"},
		claims: object{"sub": "trainer"},
	},
	"github": {
		fulcio: object{"type": "ci-provider", "ci-provider": "gha"},
		rsa:    true,
		claims: object{
			"sub":                "repo:acme/train:ref:refs/heads/main",
			"repository":         "acme/train",
			"repository_id":      "1001",
			"repository_owner":   "acme",
			"ref":                "refs/heads/main",
			"ref_type":           "branch",
			"sha":                sha,
			"event_name":         "push",
			"workflow":           "train",
			"workflow_ref":       "acme/train/.github/workflows/t.yml@refs/heads/main",
			"workflow_sha":       sha,
			"job_workflow_ref":   "acme/train/.github/workflows/t.yml@refs/heads/main",
			"job_workflow_sha":   sha,
			"runner_environment": "github-hosted",
			"run_id":             "42",
			"run_number":         "7",
			"run_attempt":        "1",
			"actor":              "alice",
		},
	},
	"gitlab": {
		fulcio: object{"type": "ci-provider", "ci-provider": "gl"},
		rsa:    true,
		claims: object{
			"sub":               "project_path:acme/train:ref_type:branch:ref:main",
			"project_path":      "acme/train",
			"project_id":        "1001",
			"namespace_path":    "acme",
			"ref":               "main",
			"ref_type":          "branch",
			"sha":               sha,
			"ci_config_ref_uri": "gitlab.com/acme/train//.gitlab-ci.yml@refs/heads/main",
			"ci_config_sha":     sha,
			"pipeline_source":   "push",
			"pipeline_id":       "42",
			"job_id":            "43",
			"user_login":        "alice",
		},
	},
}

// fulcioConfig is what Fulcio reads as YAML, of which JSON is a part.
func fulcioConfig(issuer string) object {
	issuers := object{}
	for name, kind := range kinds {
		url := issuer + "/" + name
		entry := object{"issuer-url": url, "client-id": "sigstore"}
		for setting, value := range kind.fulcio {
			entry[setting] = value
		}
		issuers[url] = entry
	}
	return object{"oidc-issuers": issuers, "ci-issuer-metadata": object{
		"gha": object{
			"default-template-values": object{"url": "https://github.com"},
			"extension-templates": object{
				"build-signer-uri":         "{{ .url }}/{{ .job_workflow_ref }}",
				"build-signer-digest":      "job_workflow_sha",
				"source-repository-uri":    "{{ .url }}/{{ .repository }}",
				"source-repository-digest": "sha",
				"source-repository-ref":    "ref",
				"build-trigger":            "event_name",
				"runner-environment":       "runner_environment",
				"run-invocation-uri":       "{{ .url }}/{{ .repository }}/actions/runs/{{ .run_id }}/attempts/{{ .run_attempt }}",
			},
			"subject-alternative-name-template": "{{ .url }}/{{ .job_workflow_ref }}",
		},
		"gl": object{
			"default-template-values": object{"url": "https://gitlab.com"},
			"extension-templates": object{
				"build-signer-uri":         "https://{{ .ci_config_ref_uri }}",
				"source-repository-uri":    "{{ .url }}/{{ .project_path }}",
				"source-repository-digest": "sha",
				"build-trigger":            "pipeline_source",
			},
			"subject-alternative-name-template": "https://{{ .ci_config_ref_uri }}",
		},
	}}
}

// tokenKeys sign tokens.
type tokenKeys struct {
	ec      *ecdsa.PrivateKey
	rsa     *rsa.PrivateKey
	unknown *ecdsa.PrivateKey // in no JWKS
}

func newTokenKeys() (*tokenKeys, error) {
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	unknown, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	rsa, err := rsa.GenerateKey(rand.Reader, 2048)
	return &tokenKeys{ec: ec, rsa: rsa, unknown: unknown}, err
}

func algorithm(key crypto.Signer) string {
	if _, is := key.(*rsa.PrivateKey); is {
		return "RS256"
	}
	return "ES256"
}

func keyID(key crypto.Signer) string {
	sum := sha256.Sum256(publicDER(key))
	return base64url(sum[:12])
}

// jwks is the key set that an issuer publishes.
func (k *tokenKeys) jwks() object {
	ec, err := k.ec.PublicKey.Bytes() // 0x04, x, y
	if err != nil {
		panic(err) // P-256
	}
	return object{"keys": []object{
		{"kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": keyID(k.ec),
			"x": base64url(ec[1:33]), "y": base64url(ec[33:])},
		{"kty": "RSA", "use": "sig", "alg": "RS256", "kid": keyID(k.rsa),
			"n": base64url(k.rsa.N.Bytes()), "e": base64url(big.NewInt(int64(k.rsa.E)).Bytes())},
	}}
}

// signToken makes a compact JWT.
func signToken(key crypto.Signer, claims object) (string, error) {
	header, err := json.Marshal(object{"alg": algorithm(key), "kid": keyID(key), "typ": "JWT"})
	if err != nil {
		return "", err
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		return "", err
	}
	signed := base64url(header) + "." + base64url(payload)
	digest := sha256.Sum256([]byte(signed))

	var signature []byte
	switch key := key.(type) {
	case *rsa.PrivateKey:
		signature, err = rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, digest[:])
	case *ecdsa.PrivateKey:
		var r, s *big.Int
		if r, s, err = ecdsa.Sign(rand.Reader, key, digest[:]); err == nil {
			signature = append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)
		}
	default:
		err = fmt.Errorf("no JWT algorithm for %T", key)
	}
	return signed + "." + base64url(signature), err
}

// claims are the good claims of this kind with some of them changed; null takes one away.
func (k kind) token(issuer string, life time.Duration, changes object) object {
	claims := object{"iss": issuer, "aud": "sigstore"}
	for name, value := range k.claims {
		claims[name] = value
	}
	expires := time.Now().Add(life)
	issued := time.Now()
	if life <= 0 {
		issued = expires.Add(-10 * time.Minute) // expired, and otherwise as it once was
	}
	claims["iat"], claims["nbf"], claims["exp"] = issued.Unix(), issued.Unix(), expires.Unix()
	for name, value := range changes {
		if value == nil {
			delete(claims, name)
		} else {
			claims[name] = value
		}
	}
	return claims
}

func base64url(bytes []byte) string {
	return base64.RawURLEncoding.EncodeToString(bytes)
}
