package goclient

import (
	"bytes"
	"context"
	"slices"
	"testing"

	"github.com/tailscale/setec/client/setec"
	"github.com/tailscale/setec/types/api"
)

func TestLife(t *testing.T) {
	c, ctx, secret := client(t), soon(t), name(t, "é<&>\u2028\n")
	value := []byte("one \xff\x00")
	for range 2 { // the same value again makes no new version
		version, err := c.Put(ctx, secret, value)
		check(t, err)
		same(t, version, 1)
	}
	version, err := c.Put(ctx, secret, []byte("two"))
	check(t, err)
	same(t, version, 2)

	found, err := c.Get(ctx, secret)
	check(t, err)
	same(t, found.Version, 1)
	same(t, string(found.Value), string(value))
	found, err = c.GetVersion(ctx, secret, 2)
	check(t, err)
	same(t, string(found.Value), "two")
	found, err = c.GetVersion(ctx, secret, api.SecretVersionDefault)
	check(t, err)
	same(t, found.Version, 1)

	check(t, c.Activate(ctx, secret, 2))
	check(t, c.Activate(ctx, secret, 2))
	_, err = c.GetIfChanged(ctx, secret, 2)
	wantErr(t, err, api.ErrValueNotChanged)
	for _, old := range []api.SecretVersion{0, 1, 99} {
		found, err = c.GetIfChanged(ctx, secret, old)
		check(t, err)
		same(t, string(found.Value), "two")
	}

	check(t, c.CreateVersion(ctx, secret, 7, nil))
	found, err = c.Get(ctx, secret)
	check(t, err)
	same(t, len(found.Value), 0)
	wantErr(t, c.CreateVersion(ctx, secret, 7, value), api.ErrVersionClaimed)
	check(t, c.DeleteVersion(ctx, secret, 1))
	wantErr(t, c.CreateVersion(ctx, secret, 1, value), api.ErrVersionClaimed)

	info, err := c.Info(ctx, secret)
	check(t, err)
	same(t, info.Name, secret)
	same(t, info.ActiveVersion, 7)
	if !slices.Equal(info.Versions, []api.SecretVersion{2, 7}) {
		t.Fatal(info.Versions)
	}
	same(t, listed(t, c, secret), true)
	check(t, c.Delete(ctx, secret))
	check(t, c.Delete(ctx, secret))
	same(t, listed(t, c, secret), false)
}

func listed(t *testing.T, c setec.Client, name string) bool {
	t.Helper()
	infos, err := c.List(soon(t))
	check(t, err)
	return slices.ContainsFunc(infos, func(info *api.SecretInfo) bool { return info.Name == name })
}

func TestLargeValue(t *testing.T) {
	c, secret := client(t), name(t, "large")
	value := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	_, err := c.Put(soon(t), secret, value)
	check(t, err)
	found, err := c.Get(soon(t), secret)
	check(t, err)
	same(t, bytes.Equal(found.Value, value), true)
}

// calls holds every call about one version of a secret.
var calls = map[string]func(context.Context, setec.Client, string, api.SecretVersion) error{
	"get": func(ctx context.Context, c setec.Client, name string, _ api.SecretVersion) error {
		_, err := c.Get(ctx, name)
		return err
	},
	"get if changed": func(ctx context.Context, c setec.Client, name string, v api.SecretVersion) error {
		_, err := c.GetIfChanged(ctx, name, v)
		return err
	},
	"get version": func(ctx context.Context, c setec.Client, name string, v api.SecretVersion) error {
		_, err := c.GetVersion(ctx, name, v)
		return err
	},
	"info": func(ctx context.Context, c setec.Client, name string, _ api.SecretVersion) error {
		_, err := c.Info(ctx, name)
		return err
	},
	"activate": func(ctx context.Context, c setec.Client, name string, v api.SecretVersion) error {
		return c.Activate(ctx, name, v)
	},
	"delete version": func(ctx context.Context, c setec.Client, name string, v api.SecretVersion) error {
		return c.DeleteVersion(ctx, name, v)
	},
	"put": func(ctx context.Context, c setec.Client, name string, _ api.SecretVersion) error {
		_, err := c.Put(ctx, name, []byte("x"))
		return err
	},
	"create version": func(ctx context.Context, c setec.Client, name string, v api.SecretVersion) error {
		return c.CreateVersion(ctx, name, v, []byte("x"))
	},
	"delete": func(ctx context.Context, c setec.Client, name string, _ api.SecretVersion) error {
		return c.Delete(ctx, name)
	},
}

func TestNotFound(t *testing.T) {
	c := client(t)
	fill(t, c, name(t, "there"), "1")
	for label, call := range calls {
		if slices.Contains([]string{"put", "create version", "delete"}, label) {
			continue // they need nothing to be there
		}
		t.Run(label, func(t *testing.T) {
			wantErr(t, call(soon(t), c, "ours/absent", 1), api.ErrNotFound)
		})
	}
	for _, label := range []string{"get version", "activate", "delete version"} {
		t.Run(label+" of a version", func(t *testing.T) {
			wantErr(t, calls[label](soon(t), c, "ours/TestNotFound/there", 9), api.ErrNotFound)
		})
	}
}

func TestDenied(t *testing.T) {
	c := client(t)
	for label, call := range calls {
		t.Run(label, func(t *testing.T) {
			wantErr(t, call(soon(t), c, "other", 1), api.ErrAccessDenied)
		})
	}
}

func TestOtherStatus(t *testing.T) {
	c, ctx, secret := client(t), soon(t), name(t, "a")
	fill(t, c, secret, "1")
	wantText(t, c.DeleteVersion(ctx, secret, 1), `status 500: "internal error"`)
	wantText(t, c.DeleteVersion(ctx, secret, 0), `status 500: "internal error"`)
	wantText(t, c.Activate(ctx, secret, 0), `status 500: "internal error"`)
	wantText(t, c.CreateVersion(ctx, secret, 0, nil), `status 400: "invalid version`)
	_, err := c.Put(ctx, "", []byte("x"))
	wantText(t, err, "status 500")
	_, err = c.Put(ctx, "_internal/x", []byte("x"))
	wantErr(t, err, api.ErrAccessDenied)
}

func TestUnreachable(t *testing.T) {
	for label, call := range calls {
		t.Run(label, func(t *testing.T) {
			wantText(t, call(soon(t), nowhere(), "a", 1), "nobody there")
		})
	}
	_, err := nowhere().List(soon(t))
	wantText(t, err, "nobody there")
}

func TestEnded(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err := client(t).List(ctx)
	wantErr(t, err, context.Canceled)
}
