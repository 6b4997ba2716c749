package rehearsal

import (
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
)

// AddRegion gives an account (empty: the first one) a second Region, with nothing in it but what AWS has in
// each and a key, alias/evidence. IAM and S3 are the account's, whatever the Region.
func (a *Account) AddRegion(account, region string) error {
	var err error
	werr := a.with(func(first *world) bool {
		w := first.in(account)
		switch {
		case w == nil:
			err = fmt.Errorf("simulated account: there is no account %s", account)
		case w.Region == region || w.Regions[region] != nil:
			err = fmt.Errorf("simulated account: account %s has %s already", w.Account, region)
		default:
			err = w.addRegion(region)
		}
		return err == nil
	})
	if werr != nil {
		return werr
	}
	return err
}

func (w *world) addRegion(region string) error {
	r := newWorld(w.Now, w.Seed+int64(len(w.Regions)+2)<<33)
	r.Account, r.Region, r.Scenario, r.Caller = w.Account, region, w.Scenario, w.Caller
	put(&w.Regions, region, r)
	w.first().link(w.blobs)
	c := r.call("kms")
	made, err := kmsCreateKey(c, &kms.CreateKeyInput{Description: aws.String("evidence")})
	if err != nil {
		return err
	}
	_, err = kmsCreateAlias(c, &kms.CreateAliasInput{AliasName: aws.String(evidenceKey), TargetKeyId: made.KeyMetadata.KeyId})
	return err
}

// at is the account's world in a Region. One that the account was not given has nothing: the
// account's own world answers for it.
func (w *world) at(region string) *world {
	if r := w.Regions[region]; r != nil {
		return r
	}
	return w
}

// worlds are those of all accounts and Regions.
func (w *world) worlds() (all []*world) {
	for _, a := range w.accounts() {
		all = append(all, a)
		for _, region := range sortedKeys(a.Regions) {
			all = append(all, a.Regions[region])
		}
	}
	return all
}

// borrow gives a Region's world what is global in the account, until it is given back.
func (w *world) borrow() (giveBack func()) {
	h := w.home
	if h == nil {
		return func() {}
	}
	w.IAM, w.S3 = h.IAM, h.S3
	return func() {
		h.IAM, h.S3 = w.IAM, w.S3
		w.IAM, w.S3 = iamState{}, s3State{}
	}
}
