package goclient

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/tailscale/setec/client/setec"
)

func TestStatic(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	check(t, os.WriteFile(path, []byte(" x\n"), 0o600))
	same(t, setec.StaticSecret("s").GetString(), "s")
	whole, err := setec.StaticFile(path)
	check(t, err)
	same(t, whole.GetString(), " x\n")
	text, err := setec.StaticTextFile(path)
	check(t, err)
	same(t, text.GetString(), "x")
	_, err = setec.StaticFile(path + "x")
	wantErr(t, err, os.ErrNotExist)
	_, err = setec.NewFileClient(path + "x")
	wantErr(t, err, os.ErrNotExist)
	same(t, setec.Secret(nil).GetString(), "")
}

func TestFields(t *testing.T) {
	c, prefix := client(t), name(t, "fields")
	fill(t, c, prefix+"/text", "1")
	var some struct {
		Text string `setec:"text"`
	}
	fields, err := setec.ParseFields(&some, prefix)
	check(t, err)
	same(t, fields.Secrets()[0], prefix+"/text")
	s := store(t, setec.StoreConfig{Client: c, AllowLookup: true})
	check(t, fields.Apply(soon(t), s))
	same(t, some.Text, "1")
	var none struct{ Text string }
	_, err = setec.ParseFields(&none, "")
	wantErr(t, err, setec.ErrNoFields)
}

func TestUndeclared(t *testing.T) {
	c, secret := client(t), name(t, "a")
	fill(t, c, secret, "1")
	s := store(t, setec.StoreConfig{Client: c, Secrets: []string{secret}})
	for label, call := range map[string]func(){
		"secret":    func() { s.Secret("ours/other") },
		"versioned": func() { s.VersionedSecret(secret) },
	} {
		t.Run(label, func(t *testing.T) {
			defer func() { same(t, recover() != nil, true) }()
			call()
		})
	}
	_, err := s.LookupSecret(soon(t), "ours/other")
	wantText(t, err, "lookup is not enabled")
}

func TestBackgroundEnds(t *testing.T) {
	c, secret := client(t), name(t, "a")
	fill(t, c, secret, "1")
	ctx, cancel := context.WithCancel(context.Background())
	s := store(t, setec.StoreConfig{
		Client: c, Secrets: []string{secret}, PollTicker: newTicker(), BackgroundContext: ctx})
	cancel()
	check(t, s.Close())
	ended, stop := context.WithCancel(context.Background())
	stop()
	if err := s.Refresh(ended); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	same(t, s.Secret(secret).GetString(), "1")
}
