package cleanroom

// permissions are what opening a room, and closing it again, needs: mostly what
// CloudFormation does with the caller's permissions ("AWS CloudFormation service role").
func permissions() []string {
	return []string{
		"cloudformation:CreateStack", "cloudformation:DeleteStack", "cloudformation:DescribeStacks", "cloudformation:DescribeStackEvents",
		"ec2:AttachVolume", "ec2:CreateVolume", "ec2:CreateTags", "ec2:DescribeInstances", "ec2:DescribeInstanceTypes", "ec2:DescribeInstanceTypeOfferings", "ec2:DescribeInternetGateways",
		"ec2:DescribeManagedPrefixLists", "ec2:DescribeNatGateways", "ec2:DescribeNetworkInterfaces", "ec2:DescribeRouteTables", "ec2:DescribeSecurityGroups",
		"ec2:DescribeSnapshots", "ec2:DescribeVolumes", "ec2:DescribeVpcEndpoints", "ec2:DescribeVpcEndpointServices",
		"ec2:DescribeVpcPeeringConnections",
		// The proof.
		"cloudformation:ListStackResources", "ec2:DescribeVpcAttribute", "ec2:DescribeEgressOnlyInternetGateways", "ec2:DescribeTransitGatewayVpcAttachments", "ec2:DescribeVpnGateways",
		"route53resolver:ListFirewallRuleGroupAssociations", "route53resolver:GetFirewallConfig", "route53resolver:ListResolverRuleAssociations",
		"ec2:DescribeCarrierGateways", "ec2:DescribeInstanceConnectEndpoints", "ec2:DescribeLocalGatewayRouteTableVpcAssociations",
		"vpc-lattice:ListServiceNetworkVpcAssociations", "route53profiles:ListProfileAssociations",
		"iam:ListRolePolicies", "iam:ListAttachedRolePolicies",
		// What the room leaves behind, when it is closed.
		"logs:FilterLogEvents", "ssm:DescribeSessions", "ssm:TerminateSession",
		// Which key the evidence bucket has; the tools in it; the image that a snapshot is restored from, and with what.
		"s3:GetEncryptionConfiguration", "kms:DescribeKey", "s3:GetObject", "s3:GetObjectVersion", "s3:ListBucket", "s3:ListBucketVersions",
		"ebs:StartSnapshot", "ebs:PutSnapshotBlock", "ebs:CompleteSnapshot", "ec2:DeleteSnapshot",
		// The stack: the network, its gates and its logs.
		"ec2:CreateVpc", "ec2:ModifyVpcAttribute", "ec2:DescribeVpcs", "ec2:CreateSubnet", "ec2:DescribeSubnets", "ec2:ModifySubnetAttribute",
		"ec2:CreateRouteTable", "ec2:AssociateRouteTable", "ec2:CreateSecurityGroup", "ec2:AuthorizeSecurityGroupIngress",
		"ec2:AuthorizeSecurityGroupEgress", "ec2:RevokeSecurityGroupEgress", "ec2:CreateVpcEndpoint", "ec2:CreateFlowLogs", "ec2:DescribeFlowLogs",
		"ec2:CreateNetworkAcl", "ec2:CreateNetworkAclEntry", "ec2:DescribeNetworkAcls", "ec2:ReplaceNetworkAclAssociation",
		"route53resolver:CreateFirewallDomainList", "route53resolver:UpdateFirewallDomains", "route53resolver:GetFirewallDomainList", "route53resolver:ListFirewallDomains",
		"route53resolver:CreateFirewallRuleGroup", "route53resolver:CreateFirewallRule", "route53resolver:GetFirewallRuleGroup", "route53resolver:ListFirewallRules",
		"route53resolver:AssociateFirewallRuleGroup", "route53resolver:GetFirewallRuleGroupAssociation",
		"route53resolver:CreateResolverQueryLogConfig", "route53resolver:GetResolverQueryLogConfig",
		"route53resolver:AssociateResolverQueryLogConfig", "route53resolver:GetResolverQueryLogConfigAssociation",
		"route53resolver:TagResource", "route53resolver:ListTagsForResource",
		"logs:CreateLogGroup", "logs:PutRetentionPolicy", "logs:TagResource", "logs:DescribeLogGroups",
		// Query logs are delivered by a service-linked role of Resolver's ("Resolver query logging", permissions).
		"logs:CreateLogDelivery", "logs:GetLogDelivery", "logs:ListLogDeliveries", "logs:DeleteLogDelivery", "logs:PutResourcePolicy", "logs:DescribeResourcePolicies",
		"iam:CreateServiceLinkedRole",
		// The stack: the instances, their role and their sessions.
		"ec2:RunInstances", "iam:CreateRole", "iam:GetRole", "iam:PutRolePolicy", "iam:GetRolePolicy", "iam:PassRole", "iam:TagRole",
		"iam:CreateInstanceProfile", "iam:GetInstanceProfile", "iam:AddRoleToInstanceProfile",
		"ssm:GetParameters", "ssm:CreateDocument", "ssm:DescribeDocument", "ssm:GetDocument", "ssm:AddTagsToResource",
		"kms:CreateGrant", "kms:Decrypt", "kms:GenerateDataKeyWithoutPlaintext",
		// And to take it back where it fails, or when the room is closed.
		"ec2:DeleteVpc", "ec2:DeleteSubnet", "ec2:DeleteRouteTable", "ec2:DisassociateRouteTable", "ec2:DeleteSecurityGroup",
		"ec2:RevokeSecurityGroupIngress", "ec2:DeleteVpcEndpoints", "ec2:DeleteFlowLogs", "ec2:DeleteNetworkAcl", "ec2:DeleteNetworkAclEntry",
		"ec2:TerminateInstances", "ec2:DetachVolume", "ec2:DeleteVolume",
		"route53resolver:DisassociateFirewallRuleGroup", "route53resolver:DeleteFirewallRule", "route53resolver:DeleteFirewallRuleGroup", "route53resolver:DeleteFirewallDomainList",
		"route53resolver:DisassociateResolverQueryLogConfig", "route53resolver:DeleteResolverQueryLogConfig",
		"iam:DeleteRole", "iam:DeleteRolePolicy", "iam:RemoveRoleFromInstanceProfile", "iam:DeleteInstanceProfile", "ssm:DeleteDocument",
	}
}
