package cleanroom

// JudgeTemplate is the check before a launch.
var JudgeTemplate = judge
