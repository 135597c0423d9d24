package main

import (
	"crypto"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"os"
	"time"
)

// Names of the logs: the origin of their checkpoints, which clients find the key by, and never dialled.
const (
	originV1 = "rekor-v1.localstack.test"
	originV2 = "rekor.localstack.test"
)

type object = map[string]any

// writeTrust writes what clients are configured with.
func (s *Stack) writeTrust() error {
	root := s.trustedRoot(s.keys.FulcioChain)
	v1, v2 := s.signingConfig(s.RekorV1, 1), s.signingConfig(s.RekorV2, 2)
	for name, content := range map[string]object{
		"trusted_root.json":         root,
		"trusted_root_expired.json": s.trustedRoot([]*x509.Certificate{s.keys.FulcioExpired, s.keys.FulcioChain[1]}),
		"signing_config.json":       v2,
		"signing_config_v1.json":    v1,
		"trust_config.json":         trustConfig(root, v2),
		"trust_config_v1.json":      trustConfig(root, v1),
	} {
		text, err := json.MarshalIndent(content, "", "  ")
		if err != nil {
			return err
		}
		if err := os.WriteFile(s.file(name), append(text, '\n'), 0o600); err != nil {
			return err
		}
	}
	return nil
}

func trustConfig(root, signing object) object {
	return object{
		"mediaType":     "application/vnd.dev.sigstore.clienttrustconfig.v0.1+json",
		"trustedRoot":   root,
		"signingConfig": signing,
	}
}

func (s *Stack) trustedRoot(fulcioChain []*x509.Certificate) object {
	return object{
		"mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
		"tlogs": []object{
			transparencyLog("https://"+originV1, s.keys.RekorV1, nil),
			transparencyLog("https://"+originV2, s.keys.RekorV2, []byte(originV2+"\n\x01")),
		},
		"certificateAuthorities": []object{certificateAuthority(s.Fulcio, fulcioChain)},
		"ctlogs":                 []object{transparencyLog(s.CT, s.keys.CT, nil)},
		"timestampAuthorities":   []object{certificateAuthority(s.TSA, s.keys.TSAChain)},
	}
}

// transparencyLog describes a log. Its identifier is the hash of the key's DER, for Rekor v2 the hash of a prefix and the
// bare key.
func transparencyLog(url string, key crypto.Signer, prefix []byte) object {
	der := publicDER(key)
	details, id := "PKIX_ECDSA_P256_SHA_256", sha256.Sum256(der)
	if bare, is := key.Public().(ed25519.PublicKey); is {
		details, id = "PKIX_ED25519", sha256.Sum256(append(prefix, bare...))
	}
	return object{
		"baseUrl":       url,
		"hashAlgorithm": "SHA2_256",
		"publicKey":     object{"rawBytes": der, "keyDetails": details, "validFor": valid()},
		"logId":         object{"keyId": id[:]},
	}
}

func certificateAuthority(url string, chain []*x509.Certificate) object {
	var certificates []object
	for _, certificate := range chain {
		certificates = append(certificates, object{"rawBytes": certificate.Raw})
	}
	top := chain[len(chain)-1].Subject
	return object{
		"subject":   object{"organization": top.Organization[0], "commonName": top.CommonName},
		"uri":       url,
		"certChain": object{"certificates": certificates},
		"validFor":  valid(),
	}
}

func (s *Stack) signingConfig(rekor string, version int) object {
	service := func(url string, version int) []object {
		return []object{{"url": url, "majorApiVersion": version, "validFor": valid(), "operator": "autosign.test"}}
	}
	return object{
		"mediaType":       "application/vnd.dev.sigstore.signingconfig.v0.2+json",
		"caUrls":          service(s.Fulcio, 1),
		"oidcUrls":        service(s.Issuer+"/email", 1),
		"rekorTlogUrls":   service(rekor, version),
		"tsaUrls":         service(s.TSA, 1),
		"rekorTlogConfig": object{"selector": "ANY"},
		"tsaConfig":       object{"selector": "ANY"},
	}
}

func valid() object {
	return object{"start": start.Format(time.RFC3339)}
}
