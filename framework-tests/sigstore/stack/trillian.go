package main

import (
	"context"
	"flag"
	"io"
	"net"
	"os"
	"time"

	"github.com/google/trillian"
	"github.com/google/trillian/extension"
	"github.com/google/trillian/log"
	"github.com/google/trillian/monitoring"
	"github.com/google/trillian/quota"
	"github.com/google/trillian/server"
	"github.com/google/trillian/server/admin"
	"github.com/google/trillian/server/interceptor"
	"github.com/google/trillian/storage"
	_ "github.com/google/trillian/storage/memory" // registers the provider "memory"
	"github.com/google/trillian/util/clock"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/durationpb"
	"k8s.io/klog/v2"
)

// serveTrillian serves Trillian, in which the CT log and Rekor v1 keep their trees, over memory: upstream's own
// commands know databases only. It returns the identifiers of new, empty trees.
func serveTrillian(listener net.Listener, logFile *os.File, trees int) ([]int64, error) {
	// Without this, Trillian's log would go to our stderr.
	flags := flag.NewFlagSet("klog", flag.PanicOnError)
	klog.InitFlags(flags)
	for name, value := range map[string]string{"logtostderr": "false", "stderrthreshold": "FATAL", "one_output": "true"} {
		if err := flags.Set(name, value); err != nil {
			return nil, err
		}
	}
	klog.SetOutput(logFile)
	for _, severity := range []string{"INFO", "WARNING"} {
		klog.SetOutputBySeverity(severity, io.Discard) // lines for each pass of the sequencer
	}

	provider, err := storage.NewProvider("memory", monitoring.InertMetricFactory{})
	if err != nil {
		return nil, err
	}
	registry := extension.Registry{
		AdminStorage:  provider.AdminStorage(),
		LogStorage:    provider.LogStorage(),
		QuotaManager:  quota.Noop(),
		MetricFactory: monitoring.InertMetricFactory{},
	}
	logs := server.NewTrillianLogRPCServer(registry, clock.System)
	admins := admin.New(registry, nil)

	var ids []int64
	ctx := context.Background()
	for range trees {
		tree, err := admins.CreateTree(ctx, &trillian.CreateTreeRequest{Tree: &trillian.Tree{
			TreeState:       trillian.TreeState_ACTIVE,
			TreeType:        trillian.TreeType_LOG,
			MaxRootDuration: durationpb.New(time.Hour),
		}})
		if err != nil {
			return nil, err
		}
		if _, err := logs.InitLog(ctx, &trillian.InitLogRequest{LogId: tree.TreeId}); err != nil {
			return nil, err
		}
		ids = append(ids, tree.TreeId)
	}

	sequencer := log.NewOperationManager(log.OperationInfo{
		Registry:    registry,
		BatchSize:   100,
		TimeSource:  clock.System,
		NumWorkers:  1,
		RunInterval: 100 * time.Millisecond,
	}, log.NewSequencerManager(registry, 0))
	go sequencer.OperationLoop(ctx)

	rpc := grpc.NewServer(grpc.UnaryInterceptor(interceptor.ErrorWrapper))
	trillian.RegisterTrillianLogServer(rpc, logs)
	trillian.RegisterTrillianAdminServer(rpc, admins)
	go func() { _ = rpc.Serve(listener) }()
	return ids, nil
}
