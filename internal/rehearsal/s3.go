package rehearsal

type s3State struct{}

func (ops operations) s3() {}
