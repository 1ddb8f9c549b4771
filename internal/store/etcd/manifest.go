package etcd

import "context"

func writeManifest(dir string) error                 { return nil }
func dropManifest(dir string) error                  { return nil }
func checkDir(ctx context.Context, dir string) error { return nil }
