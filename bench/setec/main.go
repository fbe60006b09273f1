// setec's own server on a loopback port, to stand beside legerd in a benchmark.
//
//	setec FOLDER
//
// Its database and audit log lie in FOLDER; everybody who calls may do everything, as a stub in
// place of tailscaled says. The address is printed once it listens.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"

	"github.com/tailscale/setec/audit"
	"github.com/tailscale/setec/server"
	"github.com/tink-crypto/tink-go/v2/testutil"
	"tailscale.com/client/tailscale/apitype"
	"tailscale.com/tailcfg"
)

const everything = `{"action":["get","info","put","create-version","activate","delete"],"secret":["*"]}`

func whoIs(context.Context, string) (*apitype.WhoIsResponse, error) {
	return &apitype.WhoIsResponse{
		Node:        &tailcfg.Node{Name: "bench.example.ts.net."},
		UserProfile: &tailcfg.UserProfile{LoginName: "bench@example.com"},
		CapMap: tailcfg.PeerCapMap{
			"tailscale.com/cap/secrets": []tailcfg.RawMessage{tailcfg.RawMessage(json.RawMessage(everything))},
		},
	}, nil
}

func main() {
	if len(os.Args) != 2 {
		log.Fatal("usage: setec FOLDER")
	}
	lines, err := os.OpenFile(filepath.Join(os.Args[1], "audit.log"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		log.Fatal(err)
	}
	mux := http.NewServeMux()
	_, err = server.New(context.Background(), server.Config{
		DBPath:   filepath.Join(os.Args[1], "database"),
		Key:      &testutil.DummyAEAD{Name: "SetecDevOnlyDummyEncryption"},
		AuditLog: audit.New(lines),
		WhoIs:    whoIs,
		Mux:      mux,
	})
	if err != nil {
		log.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(listener.Addr())
	log.Fatal(http.Serve(listener, mux))
}
