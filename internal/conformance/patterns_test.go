package conformance

import (
	"maps"
	"regexp"
	"slices"
	"testing"
)

var (
	// javaPair is a character beyond U+FFFF, as Java's patterns write it. The
	// models have but two: the first, D800 DC00, and the last, DBFF DFFF.
	javaPairs = map[string]*regexp.Regexp{
		`\x{10000}`:  regexp.MustCompile(`(?i)\\uD800\\uDC00`),
		`\x{10FFFF}`: regexp.MustCompile(`(?i)\\uDBFF\\uDFFF`),
	}
	javaCharacter = regexp.MustCompile(`\\u([0-9A-Fa-f]{4})`)
)

// compilePattern makes a model's pattern, in Java's language, one of Go's. AWS
// holds the whole value to it, whether it says so by ^ and $ or not: [\w]+ would mean
// nothing otherwise.
func compilePattern(java string) (*regexp.Regexp, error) {
	text := java
	for character, pair := range javaPairs {
		text = pair.ReplaceAllLiteralString(text, character)
	}
	text = javaCharacter.ReplaceAllString(text, `\x{$1}`)
	return regexp.Compile(`\A(?:` + text + `)\z`)
}

// notCompiled are the shapes whose pattern Go's language lacks the means for, by
// service: lookahead, references back, more than a thousand repetitions. The lengths of
// such a value are checked all the same.
var notCompiled = map[string][]string{
	"ec2":             {"SecretArn"},
	"iam":             {"accountAliasType"},
	"route53profiles": {"Name"},
	"route53resolver": {"Name", "ResolverQueryLogConfigName"},
	"ssm": {
		"AlarmName", "CloudConnectorIamRoleArn", "DocumentReviewComment", "InstancePropertyFilterValue",
		"InstancePropertyStringFilterKey", "MetadataKey", "OpsItemCategory", "OpsItemDataKey", "OpsItemSeverity",
		"OpsItemSource", "OpsItemTitle", "OpsMetadataFilterKey", "OpsMetadataResourceId", "Policy",
		"RegistrationMetadataKey", "RegistrationMetadataValue", "StringDateTime", "TargetLocationsURL",
	},
	"vpc-lattice": {
		"Arn", "ListenerName", "ResourceConfigurationName", "ResourceGatewayName", "RuleName", "ServiceName",
		"ServiceNetworkName", "TargetGroupName", "WildcardArn",
	},
}

func TestEveryPatternIsCompiledButTheKnownOnes(t *testing.T) {
	patterns, missing := 0, 0
	for service, m := range mustModels(t) {
		var failed []string
		for _, name := range slices.Sorted(maps.Keys(m.Shapes)) {
			if m.Shapes[name].Pattern == "" {
				continue
			}
			patterns++
			if m.Shapes[name].pattern == nil {
				failed = append(failed, name)
			}
		}
		missing += len(failed)
		if !slices.Equal(failed, notCompiled[service]) {
			t.Errorf("%s: Go can't compile the patterns of %q, known are %q", service, failed, notCompiled[service])
		}
	}
	t.Logf("%d patterns, %d of which Go can't compile", patterns, missing)
}

func TestAPatternHoldsTheWholeValue(t *testing.T) {
	tests := []struct {
		pattern, value string
		want           bool
	}{
		{`[\w+=,.@-]+`, "cordon-responder", true},
		{`[\w+=,.@-]+`, "cordon responder", false},
		{`^snap-[0-9a-f]+$`, "snap-0", true},
		{`^snap-[0-9a-f]+$`, "a snap-0", false},
		{`a|b`, "ab", false},
		{`[\u0009\u000A\u000D\u0020-\u00FF]+`, "tab\tand ÿ", true},
		{`[\u0009\u000A\u000D\u0020-\u00FF]+`, "naïve —", false}, // an em dash is U+2014
		{`[\u0020-\uD7FF\uE000-\uFFFD\uD800\uDC00-\uDBFF\uDFFF\r\n\t]*`, "— and 🔒", true},
		{`[\u0020-\uD7FF\uE000-\uFFFD\uD800\uDC00-\uDBFF\uDFFF\r\n\t]*`, "a bell \a", false},
		{`([\p{L}\p{Z}\p{N}_.:/=+\-@]*)`, "Größe 3", true},
		{`([\p{L}\p{Z}\p{N}_.:/=+\-@]*)`, "size (3)", false},
	}
	for _, tt := range tests {
		p, err := compilePattern(tt.pattern)
		if err != nil || p.MatchString(tt.value) != tt.want {
			t.Errorf("%s on %q: %v, want %v (%v)", tt.pattern, tt.value, !tt.want, tt.want, err)
		}
	}
}
