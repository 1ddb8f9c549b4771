// Package sim is a provider on a modelled world (package world), with the
// evidence, signals and refusals that the real platforms give. It comes in two
// styles: hosts with keepers, where volumes are attached before the launch
// (AttachFirst), and a cloud, where an instance must exist first.
package sim
