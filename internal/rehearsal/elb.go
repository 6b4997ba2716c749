package rehearsal

type elbState struct{}

func (ops operations) elb() {}

func (s *elbState) tick(w *world) bool { return false }
