package world

// Alike makes one more machine like another, as a person does with "Launch more like this":
// it has its tags, and so its server and its epoch, and nothing of what is attached to it.
// No epoch is taken by that. Errors: ErrCapacity.
func (w *World) Alike(i *Instance) (*Instance, error) {
	c, err := w.Prepare(Request{Server: i.Server, Epoch: i.Epoch, Style: i.Style, Units: i.Units, Type: i.Type})
	if err != nil {
		return nil, err
	}
	c.Copy, c.counted = true, true
	return c, w.Start(c)
}
