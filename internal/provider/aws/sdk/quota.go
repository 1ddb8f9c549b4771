package sdk

import (
	"context"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/servicequotas"
	"github.com/aws/aws-sdk-go-v2/service/servicequotas/types"
)

// Rates returns how many calls a second Service Quotas grants of each API of EC2, of
// those of which it tells. A quota is the rate of a call if its usage is counted in
// calls of it and its period is in seconds: names of quotas are words, and change.
func (c *Client) Rates(ctx context.Context) (map[string]float64, error) {
	out := map[string]float64{}
	pages := servicequotas.NewListServiceQuotasPaginator(servicequotas.NewFromConfig(c.cfg), &servicequotas.ListServiceQuotasInput{ServiceCode: aws.String("ec2"), MaxResults: aws.Int32(100)})
	for pages.HasMorePages() {
		p, err := pages.NextPage(ctx)
		if err != nil {
			return nil, failed("ListServiceQuotas", err)
		}
		for _, q := range p.Quotas {
			if api, rate := rateOf(q); api != "" {
				out[api] = rate
			}
		}
	}
	return out, nil
}

func rateOf(q types.ServiceQuota) (api string, perSecond float64) {
	m, every := q.UsageMetric, q.Period
	if m == nil || every == nil || q.Value == nil || m.MetricDimensions["Type"] != "API" || !strings.EqualFold(m.MetricDimensions["Service"], "EC2") {
		return "", 0
	}
	if every.PeriodUnit != types.PeriodUnitSecond || aws.ToInt32(every.PeriodValue) < 1 {
		return "", 0
	}
	return m.MetricDimensions["Resource"], *q.Value / float64(*every.PeriodValue)
}
