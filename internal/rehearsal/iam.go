package rehearsal

type iamState struct{}

func (ops operations) iam() {}
