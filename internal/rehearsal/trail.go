package rehearsal

type trailState struct{}

func (ops operations) trail() {}
