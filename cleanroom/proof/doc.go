// Package proof tells whether a clean room is closed: it lists every way out
// of it, and which of them are declared. There is one judge and there are two
// readers. [ReadTemplate] makes a [Model] of a CloudFormation template, before anything is
// launched; [ReadRoom] makes one of what AWS shows of a room that is there. What a
// reader does not know, or can't read, is a way out: nothing passes unseen.
//
// It imports AWS clients and nothing of ours, and it never changes anything.
package proof
