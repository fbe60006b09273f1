module leger.example/goclient

go 1.25.5

require github.com/tailscale/setec v0.0.0-20260115174028-19d190c5556d

require (
	github.com/creachadair/msync v0.8.1 // indirect
	github.com/go-json-experiment/json v0.0.0-20250813024750-ebf49471dced // indirect
	go4.org/mem v0.0.0-20240501181205-ae6ca9944745 // indirect
	golang.org/x/crypto v0.45.0 // indirect
	golang.org/x/exp v0.0.0-20250620022241-b7579e27df2b // indirect
	golang.org/x/sys v0.39.0 // indirect
	tailscale.com v1.92.1 // indirect
)
