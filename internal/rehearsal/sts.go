package rehearsal

func (ops operations) sts() {}
