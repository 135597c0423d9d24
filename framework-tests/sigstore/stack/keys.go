package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"time"
)

// Keys are all keys and certificates of one stack; a stack makes its own and nothing else trusts them.
type Keys struct {
	Fulcio        crypto.Signer // of the intermediate
	FulcioChain   []*x509.Certificate
	FulcioExpired *x509.Certificate // the intermediate's twin whose time is over
	CT            crypto.Signer
	RekorV1       crypto.Signer
	RekorV2       crypto.Signer
	TSA           crypto.Signer
	TSAChain      []*x509.Certificate
}

// now is read once, so that all certificates and trust files agree; an hour back, as machines' clocks differ.
var now = time.Now().UTC().Truncate(time.Second)
var start = now.Add(-time.Hour)

func newKeys() (*Keys, error) {
	root, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		return nil, err
	}
	intermediate, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		return nil, err
	}
	tsaRoot, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		return nil, err
	}
	k := &Keys{Fulcio: intermediate}
	for _, key := range []*crypto.Signer{&k.CT, &k.RekorV1, &k.TSA} {
		if *key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
			return nil, err
		}
	}
	if _, k.RekorV2, err = ed25519.GenerateKey(rand.Reader); err != nil {
		return nil, err
	}

	rootCert, err := certify(authority("fulcio root", 1), nil, root.Public(), root)
	if err != nil {
		return nil, err
	}
	cert, err := certify(authority("fulcio intermediate", 0), rootCert, intermediate.Public(), root)
	if err != nil {
		return nil, err
	}
	k.FulcioChain = []*x509.Certificate{cert, rootCert}
	expired := authority("fulcio intermediate", 0)
	expired.NotBefore, expired.NotAfter = start.AddDate(-1, 0, 0), start
	if k.FulcioExpired, err = certify(expired, rootCert, intermediate.Public(), root); err != nil {
		return nil, err
	}

	template := authority("timestamp root", 0)
	template.ExtKeyUsage = nil
	tsaRootCert, err := certify(template, nil, tsaRoot.Public(), tsaRoot)
	if err != nil {
		return nil, err
	}
	tsaCert, err := certify(timestamping(), tsaRootCert, k.TSA.Public(), tsaRoot)
	if err != nil {
		return nil, err
	}
	k.TSAChain = []*x509.Certificate{tsaCert, tsaRootCert}
	return k, nil
}

func authority(name string, pathLength int) *x509.Certificate {
	return &x509.Certificate{
		Subject:               subject(name),
		NotBefore:             start,
		NotAfter:              start.AddDate(10, 0, 0),
		IsCA:                  true,
		BasicConstraintsValid: true,
		MaxPathLen:            pathLength,
		MaxPathLenZero:        pathLength == 0,
		// sigstore-python refuses SCTs below an authority without keyCertSign.
		KeyUsage:    x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning},
	}
}

func timestamping() *x509.Certificate {
	// By hand, because RFC 3161 wants this extension critical and Go never marks it so.
	usage, err := asn1.Marshal([]asn1.ObjectIdentifier{{1, 3, 6, 1, 5, 5, 7, 3, 8}})
	if err != nil {
		panic(err)
	}
	return &x509.Certificate{
		Subject:               subject("timestamp leaf"),
		NotBefore:             start,
		NotAfter:              start.AddDate(10, 0, 0),
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtraExtensions:       []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 37}, Critical: true, Value: usage}},
	}
}

func subject(name string) pkix.Name {
	return pkix.Name{Organization: []string{"autosign.test"}, CommonName: name}
}

// certify signs template; without an issuer it becomes a root.
func certify(template, issuer *x509.Certificate, key crypto.PublicKey, signer crypto.Signer) (*x509.Certificate, error) {
	if issuer == nil {
		issuer = template
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 126))
	if err != nil {
		return nil, err
	}
	template.SerialNumber = serial
	der, err := x509.CreateCertificate(rand.Reader, template, issuer, key, signer)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

// write puts what servers read from files into the folder.
func (k *Keys) write(folder string) error {
	for name, key := range map[string]crypto.Signer{
		"fulcio.key.pem":   k.Fulcio,
		"rekor-v1.key.pem": k.RekorV1,
		"rekor-v2.key.pem": k.RekorV2,
		"tsa.key.pem":      k.TSA,
	} {
		der, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			return err
		}
		if err := writePEM(filepath.Join(folder, name), "PRIVATE KEY", der); err != nil {
			return err
		}
	}
	if err := writePEM(filepath.Join(folder, "ct.pub.pem"), "PUBLIC KEY", publicDER(k.CT)); err != nil {
		return err
	}
	for name, chain := range map[string][]*x509.Certificate{
		"fulcio-chain.pem": k.FulcioChain,
		"fulcio-root.pem":  k.FulcioChain[1:],
		"tsa-chain.pem":    k.TSAChain,
	} {
		var ders [][]byte
		for _, certificate := range chain {
			ders = append(ders, certificate.Raw)
		}
		if err := writePEM(filepath.Join(folder, name), "CERTIFICATE", ders...); err != nil {
			return err
		}
	}
	return nil
}

func writePEM(path, kind string, ders ...[]byte) error {
	var text []byte
	for _, der := range ders {
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})...)
	}
	return os.WriteFile(path, text, 0o600)
}

func publicDER(key crypto.Signer) []byte {
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		panic(err) // our own key kinds
	}
	return der
}
