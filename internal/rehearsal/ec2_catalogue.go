package rehearsal

import (
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// instanceType is what a type of instance is, as far as anyone here asks.
type instanceType struct {
	arch   types.ArchitectureValues
	nitro  bool
	vcpus  int32
	memory int64 // MiB
	disk   int64 // instance store, GB
}

// instanceTypes are those that the account offers, with the data of "Amazon EC2
// instance types: specifications".
var instanceTypes = map[string]instanceType{
	"t2.micro":   {types.ArchitectureValuesX8664, false, 1, 1024, 0},
	"t3.nano":    {types.ArchitectureValuesX8664, true, 2, 512, 0},
	"t3.micro":   {types.ArchitectureValuesX8664, true, 2, 1024, 0},
	"t3.small":   {types.ArchitectureValuesX8664, true, 2, 2048, 0},
	"t3.medium":  {types.ArchitectureValuesX8664, true, 2, 4096, 0},
	"t3.large":   {types.ArchitectureValuesX8664, true, 2, 8192, 0},
	"t3.xlarge":  {types.ArchitectureValuesX8664, true, 4, 16384, 0},
	"m5.large":   {types.ArchitectureValuesX8664, true, 2, 8192, 0},
	"m5.xlarge":  {types.ArchitectureValuesX8664, true, 4, 16384, 0},
	"m5d.large":  {types.ArchitectureValuesX8664, true, 2, 8192, 75},
	"m6i.large":  {types.ArchitectureValuesX8664, true, 2, 8192, 0},
	"m6i.xlarge": {types.ArchitectureValuesX8664, true, 4, 16384, 0},
	"c5.large":   {types.ArchitectureValuesX8664, true, 2, 4096, 0},
	"c5.xlarge":  {types.ArchitectureValuesX8664, true, 4, 8192, 0},
	"r5.large":   {types.ArchitectureValuesX8664, true, 2, 16384, 0},
	"t4g.micro":  {types.ArchitectureValuesArm64, true, 2, 1024, 0},
	"t4g.medium": {types.ArchitectureValuesArm64, true, 2, 4096, 0},
	"m7g.large":  {types.ArchitectureValuesArm64, true, 2, 8192, 0},
}

// keyPair is a public key that instances can be launched with.
type keyPair struct {
	ID      string    `json:"id"`
	Name    string    `json:"name"`
	Created time.Time `json:"created"`
}

func (s *ec2State) keyNamed(name string) *keyPair {
	for _, k := range s.Keys {
		if k.Name == name {
			return k
		}
	}
	return nil
}

// zones are the Region's Availability Zones.
func (w *world) zones() []string { return zonesOf(w.Region) }

func zonesOf(region string) []string { return []string{region + "a", region + "b", region + "c"} }

// zoneID is the zone's ID, the same in every account, where its name is not.
func zoneID(zone string) string {
	return fmt.Sprintf("sim1-az%d", zone[len(zone)-1]-'a'+1)
}

func (ops operations) ec2Catalogue() {
	ec2On(ops, ec2DescribeRegions)
	ec2On(ops, ec2DescribeAvailabilityZones)
	ec2On(ops, ec2DescribeInstanceTypes)
	ec2On(ops, ec2ImportKeyPair)
	ec2On(ops, ec2DescribeKeyPairs)
	ec2On(ops, ec2GetEbsEncryptionByDefault)
	ec2On(ops, ec2GetEbsDefaultKmsKeyId)
}

// ec2DescribeRegions: API_DescribeRegions.
func ec2DescribeRegions(c *call, in *ec2.DescribeRegionsInput) (*ec2.DescribeRegionsOutput, error) {
	out := &ec2.DescribeRegionsOutput{}
	for _, name := range []string{"eu-central-1", "eu-west-1", "us-east-1", "us-west-2"} {
		if len(in.RegionNames) > 0 && !strings.Contains(" "+strings.Join(in.RegionNames, " ")+" ", " "+name+" ") {
			continue
		}
		out.Regions = append(out.Regions, types.Region{
			RegionName: aws.String(name), Endpoint: aws.String("ec2." + name + ".amazonaws.com"), OptInStatus: aws.String("opt-in-not-required"),
		})
	}
	if len(out.Regions) < len(in.RegionNames) {
		return nil, apiError("InvalidParameterValue", fmt.Sprintf("Invalid region provided: %v", in.RegionNames))
	}
	return out, nil
}

// ec2DescribeAvailabilityZones: API_DescribeAvailabilityZones.
func ec2DescribeAvailabilityZones(c *call, in *ec2.DescribeAvailabilityZonesInput) (*ec2.DescribeAvailabilityZonesOutput, error) {
	all := make(map[string]*types.AvailabilityZone)
	for _, name := range c.zones() {
		all[name] = &types.AvailabilityZone{
			ZoneName: aws.String(name), ZoneId: aws.String(zoneID(name)), ZoneType: aws.String("availability-zone"),
			RegionName: &c.Region, GroupName: &c.Region, State: types.AvailabilityZoneStateAvailable, OptInStatus: types.AvailabilityZoneOptInStatusOptInNotRequired,
		}
	}
	field := func(z *types.AvailabilityZone, name string) ([]string, bool) {
		switch name {
		case "zone-name":
			return one(aws.ToString(z.ZoneName)), true
		case "state":
			return one(string(z.State)), true
		case "zone-type":
			return one(aws.ToString(z.ZoneType)), true
		case "region-name":
			return one(aws.ToString(z.RegionName)), true
		case "opt-in-status":
			return one(string(z.OptInStatus)), true
		}
		return nil, false
	}
	if err := checkFilters(in.Filters, field); err != nil {
		return nil, err
	}
	out := &ec2.DescribeAvailabilityZonesOutput{}
	for _, name := range in.ZoneNames {
		if all[name] == nil {
			return nil, apiError("InvalidParameterValue", fmt.Sprintf("Invalid availability zone: [%s]", name))
		}
	}
	for _, z := range inOrder(all) {
		asked := len(in.ZoneNames) == 0
		for _, name := range in.ZoneNames {
			asked = asked || name == *z.ZoneName
		}
		if asked && matches(in.Filters, func(name string) []string { v, _ := field(z, name); return v }) {
			out.AvailabilityZones = append(out.AvailabilityZones, *z)
		}
	}
	return out, nil
}

// ec2DescribeInstanceTypes: API_DescribeInstanceTypes, what tells whether the
// console can be read live, what is lost on stop, and what can be launched.
func ec2DescribeInstanceTypes(c *call, in *ec2.DescribeInstanceTypesInput) (*ec2.DescribeInstanceTypesOutput, error) {
	names := sortedKeys(instanceTypes)
	if len(in.InstanceTypes) > 0 {
		names = nil
		for _, t := range in.InstanceTypes {
			if _, ok := instanceTypes[string(t)]; !ok {
				return nil, apiError("InvalidInstanceType", fmt.Sprintf("The following supplied instance types do not exist: [%s]", t))
			}
			names = append(names, string(t))
		}
	}
	out := &ec2.DescribeInstanceTypesOutput{}
	for _, name := range names {
		t := instanceTypes[name]
		info := types.InstanceTypeInfo{
			InstanceType: types.InstanceType(name), CurrentGeneration: aws.Bool(t.nitro), Hypervisor: types.InstanceTypeHypervisorXen, BareMetal: aws.Bool(false),
			HibernationSupported: aws.Bool(t.arch == types.ArchitectureValuesX8664), InstanceStorageSupported: aws.Bool(t.disk > 0),
			VCpuInfo: &types.VCpuInfo{DefaultVCpus: aws.Int32(t.vcpus)}, MemoryInfo: &types.MemoryInfo{SizeInMiB: aws.Int64(t.memory)},
			ProcessorInfo: &types.ProcessorInfo{SupportedArchitectures: []types.ArchitectureType{types.ArchitectureType(t.arch)}},
		}
		if t.nitro {
			info.Hypervisor = types.InstanceTypeHypervisorNitro
		}
		if t.disk > 0 {
			info.InstanceStorageInfo = &types.InstanceStorageInfo{TotalSizeInGB: aws.Int64(t.disk)}
		}
		out.InstanceTypes = append(out.InstanceTypes, info)
	}
	return out, nil
}

// ec2ImportKeyPair: API_ImportKeyPair. The key itself is not kept: nothing here logs in.
func ec2ImportKeyPair(c *call, in *ec2.ImportKeyPairInput) (*ec2.ImportKeyPairOutput, error) {
	if err := c.here(); err != nil {
		return nil, err
	}
	if c.EC2.keyNamed(aws.ToString(in.KeyName)) != nil {
		return nil, apiError("InvalidKeyPair.Duplicate", fmt.Sprintf("The keypair '%s' already exists.", aws.ToString(in.KeyName)))
	}
	tags, err := tagsFor(types.ResourceTypeKeyPair, in.TagSpecifications)
	if err != nil {
		return nil, err
	}
	k := &keyPair{ID: c.id("key"), Name: aws.ToString(in.KeyName), Created: c.Now}
	c.EC2.Keys[k.ID] = k
	c.tag(k.ID, tags)
	return &ec2.ImportKeyPairOutput{KeyPairId: &k.ID, KeyName: &k.Name, Tags: c.tagList(k.ID)}, nil
}

// ec2DescribeKeyPairs: API_DescribeKeyPairs.
func ec2DescribeKeyPairs(c *call, in *ec2.DescribeKeyPairsInput) (*ec2.DescribeKeyPairsOutput, error) {
	s, q := c.ec2(), query{in.KeyPairIds, in.Filters}
	for _, name := range in.KeyNames {
		k := s.keyNamed(name)
		if k == nil {
			return nil, apiError("InvalidKeyPair.NotFound", fmt.Sprintf("The key pair '%s' does not exist", name))
		}
		q.ids = append(q.ids, k.ID)
	}
	ids, err := find(c, kindKey, s.Keys, q, func(k *keyPair, name string) ([]string, bool) {
		switch name {
		case "key-pair-id":
			return one(k.ID), true
		case "key-name":
			return one(k.Name), true
		}
		return nil, false
	})
	if err != nil {
		return nil, err
	}
	out := &ec2.DescribeKeyPairsOutput{}
	for _, id := range ids {
		k := s.Keys[id]
		out.KeyPairs = append(out.KeyPairs, types.KeyPairInfo{KeyPairId: &k.ID, KeyName: &k.Name, CreateTime: &k.Created, KeyType: types.KeyTypeEd25519, Tags: c.tagList(k.ID)})
	}
	return out, nil
}

// ec2GetEbsEncryptionByDefault: API_GetEbsEncryptionByDefault.
func ec2GetEbsEncryptionByDefault(c *call, _ *ec2.GetEbsEncryptionByDefaultInput) (*ec2.GetEbsEncryptionByDefaultOutput, error) {
	return &ec2.GetEbsEncryptionByDefaultOutput{EbsEncryptionByDefault: &c.ec2().EncryptByDefault}, nil
}

// ec2GetEbsDefaultKmsKeyId: API_GetEbsDefaultKmsKeyId.
func ec2GetEbsDefaultKmsKeyId(*call, *ec2.GetEbsDefaultKmsKeyIdInput) (*ec2.GetEbsDefaultKmsKeyIdOutput, error) {
	return &ec2.GetEbsDefaultKmsKeyIdOutput{KmsKeyId: aws.String("alias/aws/ebs")}, nil
}
