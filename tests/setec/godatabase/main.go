// A database of setec's, opened by setec's own code: show what is in it, or change it.
//
//	godatabase FILE KEY show|change
//
// KEY is "dummy" (setec --dev), or the 64 hex digits of a key as setec keeps it in a TPM. A file
// that is not there is made, as setec's server does it.
package main

import (
	"crypto/cipher"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"

	"github.com/tailscale/setec/acl"
	"github.com/tailscale/setec/audit"
	"github.com/tailscale/setec/db"
	"github.com/tailscale/setec/types/api"
	"github.com/tink-crypto/tink-go/v2/testutil"
	"github.com/tink-crypto/tink-go/v2/tink"
	"golang.org/x/crypto/chacha20poly1305"
)

// sealed is a key in setec's TPM layout: nonce, ciphertext, tag.
type sealed struct{ cipher.AEAD }

func (s sealed) Encrypt(data, associated []byte) ([]byte, error) {
	nonce := make([]byte, s.NonceSize())
	rand.Read(nonce)
	return s.Seal(nonce, nonce, data, associated), nil
}

func (s sealed) Decrypt(box, associated []byte) ([]byte, error) {
	if len(box) < s.NonceSize() {
		return nil, io.ErrUnexpectedEOF
	}
	return s.Open(nil, box[:s.NonceSize()], box[s.NonceSize():], associated)
}

type shown struct {
	Active   uint32            `json:"active"`
	Versions map[uint32][]byte `json:"versions"`
}

func must[T any](value T, err error) T {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	return value
}

func key(name string) tink.AEAD {
	if name == "dummy" {
		return &testutil.DummyAEAD{Name: "SetecDevOnlyDummyEncryption"}
	}
	return sealed{must(chacha20poly1305.NewX(must(hex.DecodeString(name))))}
}

func show(d *db.DB, all db.Caller) {
	found := map[string]shown{}
	for _, info := range must(d.List(all)) {
		secret := shown{uint32(info.ActiveVersion), map[uint32][]byte{}}
		for _, version := range info.Versions {
			secret.Versions[uint32(version)] = must(d.GetVersion(all, info.Name, version)).Value
		}
		found[info.Name] = secret
	}
	must(true, json.NewEncoder(os.Stdout).Encode(found))
}

// change leaves of "go" version 1 (deleted), 2 (active), 3 and 9 (deleted).
func change(d *db.DB, all db.Caller) {
	must(true, d.Delete(all, "go"))
	for _, value := range []string{"one", "", "\x00\xff"} {
		must(d.Put(all, "go", []byte(value)))
	}
	must(true, d.CreateVersion(all, "go", 9, []byte("nine")))
	must(true, d.Activate(all, "go", 2))
	for _, version := range []api.SecretVersion{1, 9} {
		must(true, d.DeleteVersion(all, "go", version))
	}
}

func main() {
	all := db.Caller{Permissions: acl.Rules{{
		Action: []acl.Action{"get", "info", "put", "create-version", "activate", "delete"},
		Secret: []acl.Secret{"*"},
	}}}
	d := must(db.Open(os.Args[1], key(os.Args[2]), audit.New(io.Discard)))
	switch os.Args[3] {
	case "show":
		show(d, all)
	case "change":
		change(d, all)
	}
}
