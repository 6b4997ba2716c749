package rehearsal

type ebsState struct{}

func (ops operations) ebs() {}
