package rehearsal

type autoscalingState struct{}

func (ops operations) autoscaling() {}

func (s *autoscalingState) tick(w *world) bool { return false }
