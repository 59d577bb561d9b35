//go:build tools

// Package nats names the program that is built here.
package nats

import _ "github.com/nats-io/nats-server/v2"
