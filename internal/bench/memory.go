package bench

import "context"

func memoryRows(context.Context, Options) ([]Row, error) { return nil, nil }
