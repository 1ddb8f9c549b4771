package fakeaws

import (
	"relight/internal/core/fleet"
	"relight/internal/world"
)

// standardCPUs is the quota of the vCPUs of running standard instances.
const standardCPUs = "L-1216C47A"

// withinCPUs refuses one more machine of a type beyond the account's quota of vCPUs, if
// that was set. What is stopped or has ended counts no more; what still ends does.
func (e *Endpoint) withinCPUs(kind string) error {
	quota, set := e.cat.quotas[standardCPUs]
	if !set {
		return nil
	}
	used := e.cat.types[kind].CPUs
	for id, m := range e.cat.machines { // order: a sum
		if i := e.w.Instance(id); !gone(i) && i.State != fleet.InstanceStopped {
			used += e.cat.types[m.Type].CPUs
		}
	}
	if float64(used) <= quota.value {
		return nil
	}
	return refuse("VcpuLimitExceeded", "You have requested more vCPU capacity than your current vCPU limit of %.0f allows for the instance bucket that the specified instance type belongs to.", quota.value)
}

// takesMore refuses one more volume or interface than a machine's type takes.
func (e *Endpoint) takesMore(i *world.Instance) error {
	most := e.cat.types[e.cat.machines[i.ID].Type].Attachments
	if most == 0 || len(e.devicesOf(i.ID))+len(e.interfacesOf(i.ID)) < most {
		return nil
	}
	return refuse("AttachmentLimitExceeded", "You have reached the limit of %d attachments of instance %s.", most, i.ID)
}
