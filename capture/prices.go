package capture

import (
	"fmt"
	"time"

	"github.com/cordon-ir/cordon/capture/diskimage"
)

// Prices in US dollars, us-east-1. They differ by Region and change: what is made of them is an estimate,
// and the plan says so.
//
// Those of the EBS direct APIs are the figures that https://docs.aws.amazon.com/ebs/latest/userguide/ebsapi-pricing.html
// reckons with, for "a Region that charges" so much. Those of S3 are unconfirmed: https://aws.amazon.com/s3/pricing
// fills its tables in by script, and no page of AWS's that was read has them as text; others quote them alike.
const (
	pricesAsOf  = "2025-11"
	priceList   = 0.0006 / 1000 // ListSnapshotBlocks, ListChangedBlocks: a request
	priceBlock  = 0.003 / 1000  // GetSnapshotBlock: a block
	pricePut    = 0.005 / 1000  // S3 PUT: a request, and so a part (unconfirmed)
	priceStored = 0.023         // S3 Standard, first 50 TB: a GiB, which S3 calls GB, and month (unconfirmed)
)

const (
	blocksPerSecond = 1000 // quota of GetSnapshotBlock, for a snapshot and, by default, for the account (aws-facts.md, "EBS direct APIs")
	putsPerSegment  = 4    // begin, complete, index, block list
)

// load is what an export moves.
type load struct {
	blocks   int64 // at most
	segments int64
}

// loadOf a disk, every block of which is data.
func loadOf(disk, segment int64) load {
	return load{blocks: disk / blockBytes, segments: (disk + segment - 1) / segment}
}

func (l load) and(m load) load {
	return load{blocks: l.blocks + m.blocks, segments: l.segments + m.segments}
}

// lists and puts are the requests that it takes.
func (l load) lists() int64 { return l.blocks/blocksPerPage + 1 }

func (l load) puts() int64 {
	return l.blocks*blockBytes/diskimage.PartBytes + putsPerSegment*l.segments
}

// duration at AWS's quota.
func (l load) duration() time.Duration {
	return max(time.Duration(l.blocks)*time.Second/blocksPerSecond, time.Second).Round(time.Second)
}

// String is for the responder who approves it.
func (l load) String() string {
	moved := float64(l.blocks * blockBytes)
	once := float64(l.lists())*priceList + float64(l.blocks)*priceBlock + float64(l.puts())*pricePut
	return fmt.Sprintf("%.1f GiB to read: %d blocks, %d listings and about %d uploads; %s at the %d blocks a second that AWS allows. "+
		"Estimate (us-east-1 prices of %s): $%.2f for the requests, and at most $%.2f a month for the storage until the retention ends",
		moved/gib, l.blocks, l.lists(), l.puts(), l.duration(), blocksPerSecond, pricesAsOf, once, moved/gib*priceStored)
}
