package access

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"regexp"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials/ssocreds"
	"github.com/aws/smithy-go"

	"github.com/cordon-ir/cordon/internal/incident"
)

// Explain adds what to do next to the errors that responders meet. An error
// that has a hint, or that it doesn't know, comes back as it is.
func Explain(err error) error {
	var hinted *incident.HintError
	if err == nil || errors.As(err, &hinted) {
		return err
	}
	if hint := hintFor(err); hint != "" {
		return incident.WithHint(err, hint)
	}
	return err
}

func hintFor(err error) string {
	var api smithy.APIError
	hint := ""
	if errors.As(err, &api) {
		hint = hintForCode(err, api)
	} else {
		hint = hintForClient(err)
	}
	if hint == "" && isUnreached(err) {
		return "AWS has a fault of its own (health.aws.amazon.com): wait, then repeat the command; a run goes on with cordon resume"
	}
	return hint
}

// denied finds the permission in AWS's message: "… is not authorized to perform: ec2:CreateSnapshots on …".
var denied = regexp.MustCompile(`not authorized to perform: ([a-z0-9-]+:[A-Za-z0-9]+)`)

func hintForCode(err error, api smithy.APIError) string {
	switch code := api.ErrorCode(); code {
	case "ExpiredToken", "ExpiredTokenException", "RequestExpired", "TokenRefreshRequired":
		return "the credentials have expired: sign in again (aws sso login, or a new session), then repeat the command; a run goes on with cordon resume"
	case "AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "UnauthorizedException", "AuthorizationError":
		return "the permission " + permission(err, api) + " is missing: have it granted (cordon plan shows which a playbook needs, and which are missing), or use another --profile or --role-arn"
	case "InvalidClientTokenId", "UnrecognizedClientException", "AuthFailure", "InvalidAccessKeyId", "SignatureDoesNotMatch", "IncompleteSignature", "InvalidSignatureException":
		return "AWS does not accept these credentials: check --profile and the AWS_… variables, whether the key is still active, and whether the account has this Region enabled"
	case "RequestTimeTooSkewed":
		return "this machine's clock is wrong: set it, then try again"
	case "OptInRequired":
		return "the account has not enabled this Region or service"
	case "InvalidInstanceID.NotFound", "InvalidInstanceID.Malformed":
		return "check the instance's ID, the --region and the account: an instance is seen only in its own; a terminated one disappears after about an hour"
	case "RequestLimitExceeded", "Throttling", "ThrottlingException", "TooManyRequestsException", "SlowDown", "RequestThrottledException":
		return "AWS is throttling this account: wait a minute, then repeat the command; a run goes on with cordon resume"
	case "NoSuchBucket":
		return "check the evidence bucket's name and Region in the configuration file"
	default:
		return ""
	}
}

// permission names what was refused: from the message, or else from the call, whose IAM action usually has its name.
func permission(err error, api smithy.APIError) string {
	if m := denied.FindStringSubmatch(api.ErrorMessage()); m != nil {
		return m[1]
	}
	var op *smithy.OperationError
	if errors.As(err, &op) {
		return strings.ToLower(strings.ReplaceAll(op.Service(), " ", "")) + ":" + op.Operation()
	}
	return "for this call"
}

func hintForClient(err error) string {
	var profile config.SharedConfigProfileNotExistError
	if errors.As(err, &profile) {
		return fmt.Sprintf("there is no profile %q: aws configure list-profiles shows those there are", profile.Profile)
	}
	var sso *ssocreds.InvalidTokenError
	if errors.As(err, &sso) {
		return "the SSO session has ended: aws sso login, then repeat the command"
	}
	var region *aws.MissingRegionError
	if errors.As(err, &region) {
		return "name the Region with --region, in AWS_REGION, or in the profile"
	}
	if isOperation(err, "ec2imds") || strings.Contains(err.Error(), "failed to refresh cached credentials") || strings.Contains(err.Error(), "get credentials") {
		return "there are no usable AWS credentials: sign in (aws sso login), choose a --profile, or set AWS_ACCESS_KEY_ID and its companions"
	}
	var dns *net.DNSError
	if errors.As(err, &dns) {
		return fmt.Sprintf("%s can't be found: check --region and --endpoint-url, and this machine's network", dns.Name)
	}
	var address *net.OpError
	var request *url.Error
	if errors.As(err, &address) && address.Net != "unix" || errors.As(err, &request) { // a case's socket is not AWS
		return "AWS can't be reached: check this machine's network and proxy, --region and --endpoint-url; a run goes on with cordon resume"
	}
	return ""
}

// isOperation reports whether the error, at any depth, is of a call of the service.
func isOperation(err error, service string) bool {
	for err != nil {
		var op *smithy.OperationError
		if !errors.As(err, &op) {
			return false
		}
		if op.Service() == service {
			return true
		}
		err = op.Err
	}
	return false
}
