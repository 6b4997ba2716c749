package rehearsal

type ssmState struct{}

func (ops operations) ssm() {}
