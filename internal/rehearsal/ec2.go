package rehearsal

type ec2State struct{}

func (ops operations) ec2() {}

func (s *ec2State) tick(w *world) bool { return false }
