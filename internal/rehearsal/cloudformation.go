package rehearsal

type cloudformationState struct{}

func (ops operations) cloudformation() {}

func (s *cloudformationState) tick(w *world) bool { return false }
