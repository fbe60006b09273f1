// Package goclient drives legerd with setec's own Go client.
//
// LEGERD_URL or LEGERD_SOCKET says where legerd listens; its caller may do everything with the
// empty name and with names below ours/, and nothing with others.
package goclient

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/tailscale/setec/client/setec"
	"github.com/tailscale/setec/types/api"
)

// client returns setec's client of the legerd under test.
func client(t *testing.T) setec.Client {
	t.Helper()
	if url := os.Getenv("LEGERD_URL"); url != "" {
		return setec.Client{Server: url}
	}
	path := os.Getenv("LEGERD_SOCKET")
	if path == "" {
		t.Fatal("neither LEGERD_URL nor LEGERD_SOCKET is set")
	}
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", path)
	}
	web := &http.Client{Transport: &http.Transport{DialContext: dial}}
	return setec.Client{Server: "http://localhost", DoHTTP: web.Do}
}

// nowhere returns a client of a server that is not there.
func nowhere() setec.Client {
	refuse := func(*http.Request) (*http.Response, error) { return nil, errors.New("nobody there") }
	return setec.Client{Server: "http://nowhere.invalid", DoHTTP: refuse}
}

// soon returns a context that ends with the test, or before it lasts too long.
func soon(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// name returns a secret's name that no other test has.
func name(t *testing.T, last string) string {
	return "ours/" + t.Name() + "/" + last
}

// fill stores a value as the active version.
func fill(t *testing.T, c setec.Client, name, value string) api.SecretVersion {
	t.Helper()
	version, err := c.Put(soon(t), name, []byte(value))
	check(t, err)
	check(t, c.Activate(soon(t), name, version))
	return version
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func same[T comparable](t *testing.T, got, want T) {
	t.Helper()
	if got != want {
		t.Fatalf("got %v, want %v", got, want)
	}
}

func wantErr(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("got error %v, want %v", err, want)
	}
}

func wantText(t *testing.T, err error, want string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Fatalf("got error %v, want one with %q", err, want)
	}
}

// store starts a store that ends with the test; it polls only when told.
func store(t *testing.T, config setec.StoreConfig) *setec.Store {
	t.Helper()
	if config.PollInterval == 0 && config.PollTicker == nil {
		config.PollInterval = -1
	}
	config.Logf = t.Logf
	made, err := setec.NewStore(soon(t), config)
	check(t, err)
	t.Cleanup(func() { made.Close() })
	return made
}
