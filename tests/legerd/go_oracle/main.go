// Oracle says what Go's encoding/json makes of requests. It reads lines "KIND HEX" and answers
// each with one line: "-" if Go refuses the body, else the fields, strings and bytes in hex.
// For the kind "text" HEX is a string, and the answer its JSON in hex.
package main

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"strings"
)

type get struct {
	Name            string
	Version         uint32
	UpdateIfChanged bool
}

type put struct {
	Name  string
	Value []byte
}

type createVersion struct {
	Name    string
	Version uint32
	Value   []byte
}

type item struct {
	Name    string
	Version uint32
	Have    string
	Mac     []byte
}

type fetch struct {
	Key     []byte
	Secrets []item
}

func answer(kind string, body []byte) string {
	decode := func(into any) bool {
		return json.NewDecoder(bytes.NewReader(body)).Decode(into) == nil
	}
	switch kind {
	case "get":
		var r get
		if decode(&r) {
			return fmt.Sprintf("%x %d %t", r.Name, r.Version, r.UpdateIfChanged)
		}
	case "put":
		var r put
		if decode(&r) {
			return fmt.Sprintf("%x %x", r.Name, r.Value)
		}
	case "create-version":
		var r createVersion
		if decode(&r) {
			return fmt.Sprintf("%x %d %x", r.Name, r.Version, r.Value)
		}
	case "fetch":
		var r fetch
		if decode(&r) {
			parts := []string{fmt.Sprintf("%x", r.Key)}
			for _, s := range r.Secrets {
				parts = append(parts, fmt.Sprintf("%x %d %x %x", s.Name, s.Version, s.Have, s.Mac))
			}
			return strings.Join(parts, "|")
		}
	case "text":
		out, _ := json.Marshal(string(body))
		return hex.EncodeToString(out)
	}
	return "-"
}

func main() {
	in := bufio.NewScanner(os.Stdin)
	in.Buffer(nil, 64<<20)
	out := bufio.NewWriter(os.Stdout)
	defer out.Flush()
	for in.Scan() {
		kind, data, _ := strings.Cut(in.Text(), " ")
		body, err := hex.DecodeString(data)
		if err != nil {
			panic(err)
		}
		fmt.Fprintln(out, answer(kind, body))
	}
}
