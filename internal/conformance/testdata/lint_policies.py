"""Checks IAM policies and action names with parliament.

Reads {"policies": {name: document}, "actions": [name]} (either can be null) from stdin and writes
{"findings": [{"policy", "issue", "detail"}], "unknown": [action]} to stdout.
Called as a library: parliament's own command writes a log to a fixed place.
"""

import json
import sys

import parliament

asked = json.load(sys.stdin)
findings = []
for name, document in (asked["policies"] or {}).items():
    for f in parliament.analyze_policy_string(document).findings:
        detail = f.detail if isinstance(f.detail, str) else json.dumps(f.detail, sort_keys=True, default=str)
        findings.append({"policy": name, "issue": f.issue, "detail": detail})

unknown = []
for action in asked["actions"] or []:
    try:
        parliament.expand_action(action)
    except Exception as e:
        unknown.append("%s: %s" % (action, e))

json.dump({"findings": findings, "unknown": unknown}, sys.stdout)
