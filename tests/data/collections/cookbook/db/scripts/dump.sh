#!/bin/sh
exec podman exec recipe-db true
