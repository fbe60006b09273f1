module leger.example/godatabase

go 1.25.5

require (
	github.com/tailscale/setec v0.0.0-20260115174028-19d190c5556d
	github.com/tink-crypto/tink-go/v2 v2.6.0
	golang.org/x/crypto v0.46.0
)

require (
	github.com/creachadair/mds v0.25.15 // indirect
	golang.org/x/sys v0.39.0 // indirect
	google.golang.org/protobuf v1.36.8 // indirect
	tailscale.com v1.92.1 // indirect
)
