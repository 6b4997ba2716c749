// Package reach works out which paths lead between an instance and the rest of
// the world, what lets traffic pass on each, and what would cut it.
//
// ReadVPC asks AWS, and changes nothing. All else is computed from what it read: the same
// network gives the same paths and the same choice. It imports the core and the EC2
// client only, and never acts: isolate.network does.
package reach
