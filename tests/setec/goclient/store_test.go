package goclient

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tailscale/setec/client/setec"
	"github.com/tailscale/setec/types/api"
)

// ticker polls when the test says so, and says when that is done.
type ticker struct {
	due  chan time.Time
	done chan struct{}
}

func newTicker() ticker                 { return ticker{make(chan time.Time), make(chan struct{})} }
func (t ticker) Chan() <-chan time.Time { return t.due }
func (t ticker) Stop()                  {}
func (t ticker) Done()                  { t.done <- struct{}{} }
func (t ticker) poll()                  { t.due <- time.Now(); <-t.done }

func TestStorePolls(t *testing.T) {
	c, secret, tick := client(t), name(t, "a"), newTicker()
	fill(t, c, secret, "1")
	s := store(t, setec.StoreConfig{Client: c, Secrets: []string{secret}, PollTicker: tick})
	same(t, s.Secret(secret).GetString(), "1")
	fill(t, c, secret, "2")
	same(t, s.Secret(secret).GetString(), "1")
	tick.poll()
	same(t, s.Secret(secret).GetString(), "2")
	same(t, s.Metrics().Get("counter_poll_errors").String(), "0")
}

func TestStorePollsByTheClock(t *testing.T) {
	c, secret := client(t), name(t, "a")
	fill(t, c, secret, "1")
	s := store(t, setec.StoreConfig{
		Client: c, Secrets: []string{secret}, PollInterval: 50 * time.Millisecond})
	fill(t, c, secret, "2")
	for ctx := soon(t); s.Secret(secret).GetString() != "2"; time.Sleep(10 * time.Millisecond) {
		check(t, ctx.Err())
	}
}

func TestStoreWaits(t *testing.T) {
	c, secret := client(t), name(t, "late")
	filled := make(chan error)
	go func() {
		time.Sleep(200 * time.Millisecond)
		_, err := c.Put(context.Background(), secret, []byte("1"))
		filled <- err
	}()
	s := store(t, setec.StoreConfig{Client: c, Secrets: []string{secret}})
	same(t, string(s.Secret(secret).Get()), "1")
	check(t, <-filled)
}

func TestStoreGivesUp(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	config := setec.StoreConfig{Client: client(t), Secrets: []string{"ours/absent"}, Logf: t.Logf}
	if _, err := setec.NewStore(ctx, config); err == nil {
		t.Fatal("a store without its secret")
	}
	_, err := setec.NewStore(ctx, setec.StoreConfig{Client: client(t)})
	wantText(t, err, "no secrets")
}

func TestPartialFailure(t *testing.T) {
	c, good, bad := client(t), name(t, "good"), name(t, "bad")
	fill(t, c, good, "1")
	fill(t, c, bad, "1")
	s := store(t, setec.StoreConfig{Client: c, Secrets: []string{good, bad}})
	fill(t, c, good, "2")
	check(t, c.Delete(soon(t), bad))
	err := s.Refresh(soon(t))
	wantErr(t, err, api.ErrNotFound)
	wantText(t, err, "partially failed")
	same(t, s.Secret(good).GetString()+s.Secret(bad).GetString(), "21")
}

func TestLookup(t *testing.T) {
	c, secret := client(t), name(t, "a")
	fill(t, c, secret, "1")
	s := store(t, setec.StoreConfig{Client: c, AllowLookup: true})
	same(t, s.Secret(secret) == nil, true)
	found, err := s.LookupSecret(soon(t), secret)
	check(t, err)
	same(t, found.GetString(), "1")
	_, err = s.LookupSecret(soon(t), "ours/absent")
	wantErr(t, err, api.ErrNotFound)
	_, err = s.LookupSecret(soon(t), "other")
	wantErr(t, err, api.ErrAccessDenied)
	fill(t, c, secret, "2")
	check(t, s.Refresh(soon(t)))
	same(t, found.GetString(), "2")
}

func TestUpdater(t *testing.T) {
	c, secret := client(t), name(t, "number")
	fill(t, c, secret, "1")
	s := store(t, setec.StoreConfig{Client: c, Secrets: []string{secret}})
	number := func(value []byte) (int, error) { return strconv.Atoi(string(value)) }
	u, err := setec.NewUpdater(soon(t), s, secret, number)
	check(t, err)
	same(t, u.Get(), 1)
	for _, step := range []struct {
		value string
		want  int
		fails bool
	}{{"2", 2, false}, {"no number", 2, true}, {"3", 3, false}} {
		fill(t, c, secret, step.value)
		check(t, s.Refresh(soon(t)))
		same(t, u.Get(), step.want)
		same(t, u.Err() != nil, step.fails)
	}
	_, err = setec.NewUpdater(soon(t), s, "ours/undeclared", number)
	wantText(t, err, "lookup is not enabled")
	same(t, setec.StaticUpdater(5).Get(), 5)
}

func TestFileCache(t *testing.T) {
	c, secret := client(t), name(t, "a")
	fill(t, c, secret, "1")
	path := filepath.Join(t.TempDir(), "new", "cache")
	cache, err := setec.NewFileCache(path)
	check(t, err)
	names := []string{secret}
	store(t, setec.StoreConfig{Client: c, Secrets: names, Cache: cache})
	alone := store(t, setec.StoreConfig{Client: nowhere(), Secrets: names, Cache: cache})
	same(t, alone.Secret(secret).GetString(), "1")
	wantText(t, alone.Refresh(soon(t)), "nobody there")
	same(t, alone.Secret(secret).GetString(), "1")

	fill(t, c, secret, "2")
	again := store(t, setec.StoreConfig{Client: c, Secrets: names, Cache: cache})
	same(t, again.Secret(secret).GetString(), "1")
	check(t, again.Refresh(soon(t)))
	file, err := setec.NewFileClient(path)
	check(t, err)
	found, err := file.Get(soon(t), secret)
	check(t, err)
	same(t, string(found.Value), "2")
	_, err = file.GetIfChanged(soon(t), secret, 2)
	wantErr(t, err, api.ErrValueNotChanged)
	_, err = file.Get(soon(t), "absent")
	wantErr(t, err, api.ErrNotFound)
	info, err := os.Stat(path)
	check(t, err)
	same(t, info.Mode(), os.FileMode(0o600))
	_, err = setec.NewFileCache(filepath.Dir(path))
	wantText(t, err, "not a regular file")
}

func TestMemCache(t *testing.T) {
	c, secret := client(t), name(t, "a")
	fill(t, c, secret, "1")
	cache := setec.NewMemCache("no JSON")
	s := store(t, setec.StoreConfig{Client: c, Secrets: []string{secret}, Cache: cache})
	same(t, s.Secret(secret).GetString(), "1")
	same(t, strings.Contains(cache.String(), `"Value":"MQ==","Version":1`), true)
}

// TestKeyring is about several versions of one secret, which a store keeps together.
func TestKeyring(t *testing.T) {
	c, ctx, secret := client(t), soon(t), name(t, "a")
	fill(t, c, secret, "one")
	s := store(t, setec.StoreConfig{Client: c, AllowLookup: true, Cache: setec.NewMemCache("")})
	_, err := s.LookupSecret(ctx, secret)
	check(t, err)
	keys := s.VersionedSecret(secret)
	value, err := keys.GetVersion(ctx, 1)
	check(t, err)
	same(t, string(value), "one")
	check(t, keys.CreateVersion(ctx, 7, []byte("seven")))
	same(t, s.Secret(secret).GetString(), "seven")
	wantErr(t, keys.CreateVersion(ctx, 7, []byte("7")), api.ErrVersionClaimed)
	_, err = keys.GetVersion(ctx, 3)
	wantErr(t, err, api.ErrNotFound)
	found, err := c.Get(ctx, secret)
	check(t, err)
	same(t, found.Version, 7)

	check(t, c.DeleteVersion(ctx, secret, 1))
	value, err = keys.GetVersion(ctx, 1)
	check(t, err)
	same(t, string(value), "one") // until the next poll
	check(t, s.Refresh(ctx))
	_, err = keys.GetVersion(ctx, 1)
	wantErr(t, err, api.ErrNotFound)
	_, err = s.VersionedSecret("other").GetVersion(ctx, 1)
	wantErr(t, err, api.ErrAccessDenied)
}

func TestExpiry(t *testing.T) {
	c, declared, old, cache := client(t), name(t, "declared"), name(t, "old"), setec.NewMemCache("")
	fill(t, c, declared, "1")
	fill(t, c, old, "1")
	now := time.Now()
	config := setec.StoreConfig{
		Client: c, Secrets: []string{declared}, AllowLookup: true, Cache: cache,
		ExpiryAge: time.Minute, TimeNow: func() time.Time { return now }}
	_, err := store(t, config).LookupSecret(soon(t), old)
	check(t, err)
	next := store(t, config) // one that has no handle of it
	check(t, next.Refresh(soon(t)))
	same(t, strings.Contains(cache.String(), old), true)
	now = now.Add(2 * time.Minute)
	check(t, next.Refresh(soon(t)))
	same(t, strings.Contains(cache.String(), old), false)
	same(t, next.Secret(declared).GetString(), "1")
}

func TestStructs(t *testing.T) {
	c, prefix := client(t), name(t, "fields")
	fill(t, c, prefix+"/text", "1")
	fill(t, c, prefix+"/object", `{"B":2}`)
	var fields struct {
		Text   string          `setec:"text"`
		Bytes  []byte          `setec:"text"`
		Secret setec.Secret    `setec:"text"`
		Object struct{ B int } `setec:"object,json"`
	}
	store(t, setec.StoreConfig{
		Client: c, Structs: []setec.Struct{{Value: &fields, Prefix: prefix}}})
	same(t, fields.Text+string(fields.Bytes)+fields.Secret.GetString(), "111")
	same(t, fields.Object.B, 2)
}

// TestCacheForPython and TestCacheFromPython leave a cache for the Python client, and read its own.
func TestCacheForPython(t *testing.T) {
	c, ctx, secret := client(t), soon(t), "ours/from go <é>"
	cache, err := setec.NewFileCache(cachePath(t))
	check(t, err)
	if listed(t, c, secret) {
		check(t, c.Delete(ctx, secret))
	}
	fill(t, c, secret, "one \xff")
	s := store(t, setec.StoreConfig{
		Client: c, Secrets: []string{secret}, AllowLookup: true, Cache: cache,
		TimeNow: func() time.Time { return time.Unix(1795401406, 0) }})
	for version := api.SecretVersion(9); version < 11; version++ {
		value := []byte("v" + version.String())
		check(t, s.VersionedSecret(secret).CreateVersion(ctx, version, value))
	}
}

func TestCacheFromPython(t *testing.T) {
	cache, err := setec.NewFileCache(cachePath(t))
	check(t, err)
	s, err := setec.NewStore(soon(t), setec.StoreConfig{
		Client: nowhere(), Secrets: []string{"ours/from python <é>"}, AllowLookup: true,
		Cache: cache, PollInterval: -1, Logf: t.Logf})
	check(t, err)
	defer s.Close()
	same(t, s.Secret("ours/from python <é>").GetString(), "v10")
	for _, version := range []api.SecretVersion{9, 10} {
		value, err := s.VersionedSecret("ours/from python <é>").GetVersion(soon(t), version)
		check(t, err)
		same(t, string(value), "v"+version.String())
	}
}

func cachePath(t *testing.T) string {
	t.Helper()
	path := os.Getenv("SETEC_CACHE")
	if path == "" {
		t.Skip("SETEC_CACHE is not set")
	}
	if !filepath.IsAbs(path) {
		t.Fatal(errors.New("SETEC_CACHE must be absolute"))
	}
	return path
}
