package rehearsal

type classicState struct{}

func (ops operations) classic() {}

func (s *classicState) tick(w *world) bool { return false }
