// Package access gives an aws.Config per account and Region, made from the
// ordinary AWS configuration or from a simulated account, through which every call is
// recorded, kept within the API's rate and tried again: no journal, no call. It also asks AWS what
// the caller may do (Permitted). It imports incident and AWS, reads no clock of its own, and never writes a credential, token or password anywhere.
package access
