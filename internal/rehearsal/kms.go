package rehearsal

type kmsState struct{}

func (ops operations) kms() {}
