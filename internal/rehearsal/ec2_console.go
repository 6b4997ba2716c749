package rehearsal

import (
	"bytes"
	"encoding/base64"
	"fmt"
	stdimage "image"
	"image/color"
	"image/jpeg"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// consoleSize is how much of the console's output AWS keeps.
const consoleSize = 64 << 10

func (ops operations) ec2Console() {
	ec2On(ops, ec2GetConsoleOutput)
	ec2On(ops, ec2GetConsoleScreenshot)
}

// ec2GetConsoleOutput: API_GetConsoleOutput. Base64 of the last 64 KB. The latest
// output is there on Nitro only; without asking for it one gets what was
// posted after the boot.
func ec2GetConsoleOutput(c *call, in *ec2.GetConsoleOutputInput) (*ec2.GetConsoleOutputOutput, error) {
	i, err := get(kindInstance, c.ec2().Instances, in.InstanceId)
	if err != nil {
		return nil, err
	}
	if aws.ToBool(in.Latest) && !instanceTypes[i.Type].nitro {
		return nil, apiError("UnsupportedOperation", "This instance type does not support retrieving the latest console logs.")
	}
	out := &ec2.GetConsoleOutputOutput{InstanceId: &i.ID, Timestamp: &c.Now}
	if i.State == types.InstanceStateNamePending || !i.alive() {
		return out, nil
	}
	text := i.boot() + i.Console
	if !aws.ToBool(in.Latest) {
		text = i.boot()
		out.Timestamp = &i.Launched
	}
	if len(text) > consoleSize {
		text = text[len(text)-consoleSize:]
	}
	out.Output = aws.String(base64.StdEncoding.EncodeToString([]byte(text)))
	return out, nil
}

// boot is what the console shows of an ordinary start.
func (i *instance) boot() string {
	host := "ip-" + strings.ReplaceAll(i.PrivateIP, ".", "-")
	return fmt.Sprintf("[    0.000000] Linux version 6.1.155-176.282.amzn2023.x86_64\r\n"+
		"[    0.000000] Command line: BOOT_IMAGE=(hd0,gpt1)/boot/vmlinuz-6.1.155 root=UUID=... ro console=tty0 console=ttyS0,115200n8\r\n"+
		"[    1.204113] EXT4-fs (nvme0n1p1): mounted filesystem with ordered data mode. Quota mode: none.\r\n"+
		"[    4.713305] cloud-init: Cloud-init v. 22.2.2 running 'init' at %s. Instance %s.\r\n"+
		"\r\nAmazon Linux 2023\r\nKernel 6.1.155-176.282.amzn2023.x86_64 on an x86_64 (-)\r\n\r\n%s login: ",
		i.Launched.UTC().Format("Mon, 02 Jan 2006 15:04:05 +0000"), i.ID, host)
}

// ec2GetConsoleScreenshot: API_GetConsoleScreenshot. Base64 of a JPEG.
func ec2GetConsoleScreenshot(c *call, in *ec2.GetConsoleScreenshotInput) (*ec2.GetConsoleScreenshotOutput, error) {
	i, err := get(kindInstance, c.ec2().Instances, in.InstanceId)
	if err != nil {
		return nil, err
	}
	if i.State != types.InstanceStateNameRunning {
		return nil, apiError("IncorrectInstanceState", fmt.Sprintf("The instance '%s' is not in the 'running' state.", i.ID))
	}
	picture, err := screenshot(i)
	if err != nil {
		return nil, err
	}
	return &ec2.GetConsoleScreenshotOutput{InstanceId: &i.ID, ImageData: aws.String(base64.StdEncoding.EncodeToString(picture))}, nil
}

// screenshot draws a text console of 720 by 400, each line of the boot as a
// light bar as long as its text.
func screenshot(i *instance) ([]byte, error) {
	const width, height, line = 720, 400, 16
	img := stdimage.NewGray(stdimage.Rect(0, 0, width, height))
	for n, text := range strings.Split(i.boot(), "\r\n") {
		for x := range min(len(text)*8, width) {
			for y := n*line + 4; y < n*line+line-4; y++ {
				img.SetGray(x, y, color.Gray{Y: 0xaa})
			}
		}
	}
	var b bytes.Buffer
	if err := jpeg.Encode(&b, img, &jpeg.Options{Quality: 60}); err != nil {
		return nil, fmt.Errorf("screenshot of %s: %w", i.ID, err)
	}
	return b.Bytes(), nil
}
