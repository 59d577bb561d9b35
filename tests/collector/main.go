// A collector for tests: OpenTelemetry's own, with OTLP's receiver and an exporter that writes into a file.
package main

import (
	"context"
	"os"
	"sync"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/confmap/provider/fileprovider"
	"go.opentelemetry.io/collector/exporter"
	"go.opentelemetry.io/collector/exporter/exporterhelper"
	"go.opentelemetry.io/collector/otelcol"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/receiver"
	"go.opentelemetry.io/collector/receiver/otlpreceiver"
	"go.opentelemetry.io/collector/service/telemetry/otelconftelemetry"
)

func main() {
	set := otelcol.CollectorSettings{
		BuildInfo: component.BuildInfo{Command: "collector", Version: "test"},
		Factories: factories,
		ConfigProviderSettings: otelcol.ConfigProviderSettings{
			ResolverSettings: confmap.ResolverSettings{
				DefaultScheme:     "file",
				ProviderFactories: []confmap.ProviderFactory{fileprovider.NewFactory()},
			},
		},
	}
	if err := otelcol.NewCommand(set).Execute(); err != nil {
		os.Exit(1)
	}
}

func factories() (otelcol.Factories, error) {
	receivers, err := otelcol.MakeFactoryMap[receiver.Factory](otlpreceiver.NewFactory())
	if err != nil {
		return otelcol.Factories{}, err
	}
	exporters, err := otelcol.MakeFactoryMap[exporter.Factory](lines())
	if err != nil {
		return otelcol.Factories{}, err
	}
	return otelcol.Factories{Receivers: receivers, Exporters: exporters, Telemetry: otelconftelemetry.NewFactory()}, nil
}

type linesConfig struct {
	Path string `mapstructure:"path"`
}

// lines writes each request into a file, as a line of OTLP's JSON.
func lines() exporter.Factory {
	kind := component.MustNewType("lines")
	config := func() component.Config { return &linesConfig{} }
	make := func(ctx context.Context, set exporter.Settings, config component.Config) (exporter.Traces, error) {
		file, err := os.OpenFile(config.(*linesConfig).Path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if err != nil {
			return nil, err
		}
		var lock sync.Mutex
		write := func(_ context.Context, traces ptrace.Traces) error {
			text, err := (&ptrace.JSONMarshaler{}).MarshalTraces(traces)
			if err != nil {
				return err
			}
			lock.Lock()
			defer lock.Unlock()
			_, err = file.Write(append(text, '\n'))
			return err
		}
		return exporterhelper.NewTraces(ctx, set, config, write)
	}
	return exporter.NewFactory(kind, config, exporter.WithTraces(make, component.StabilityLevelDevelopment))
}
